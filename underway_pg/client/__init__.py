"""Clients: the calls of the SQL contract, over a pool or in the caller's transaction."""

from ._sync import AsyncClient, Client, execute, execute_async, wait

__all__ = ["AsyncClient", "Client", "execute", "execute_async", "wait"]
