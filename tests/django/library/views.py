from django.http import HttpResponse

from library.models import Book
from library.tasks import lend_book


def lend(request):
    book = Book.objects.create(title=request.POST["title"])
    lend_book.enqueue(book=book.id)
    if "fail" in request.POST:
        raise ValueError("after the enqueue")
    return HttpResponse(book.id)
