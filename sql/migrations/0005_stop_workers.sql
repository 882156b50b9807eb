-- Workers that were asked to stop.

alter table underway.worker add column stop_asked_at timestamptz;
