"""A Django application in one file."""

import asyncio
import json

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.http import FileResponse, Http404, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, SECRET_KEY="tests", LOGGING=None)
django.setup()


def item(request, number):
    if number > 9:
        raise Http404
    return JsonResponse({"item": number})


def echo(request):
    return JsonResponse(json.loads(request.body), status=201)


def stream(request):
    return StreamingHttpResponse(f"{i}\n".encode() for i in range(3))


async def later(request):
    await asyncio.sleep(0.01)
    return HttpResponse("later")


def file(request):
    return FileResponse(open(__file__, "rb"))  # Django closes it


def boom(request):
    raise RuntimeError("boom")


urlpatterns = [
    path("item/<int:number>", item),
    path("echo", echo),
    path("stream", stream),
    path("later", later),
    path("file", file),
    path("boom", boom),
]
wsgi = get_wsgi_application()
asgi = get_asgi_application()
