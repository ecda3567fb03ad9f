"""A FastAPI application."""

import asyncio
import contextlib

from fastapi import BackgroundTasks, Body, FastAPI, HTTPException, WebSocket
from fastapi.responses import FileResponse, StreamingResponse


@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"started": True}


asgi = FastAPI(lifespan=lifespan)


@asgi.get("/item/{number}")
async def item(number: int):
    if number > 9:
        raise HTTPException(404)
    return {"item": number}


@asgi.post("/echo", status_code=201)
def echo(body: dict = Body()):  # noqa: B008  # so FastAPI has it
    return body


@asgi.get("/stream")
async def stream():
    async def parts():
        for i in range(3):
            yield f"{i}\n".encode()

    return StreamingResponse(parts())


@asgi.get("/later")
async def later(tasks: BackgroundTasks):
    tasks.add_task(asyncio.sleep, 0.01)
    return "later"


@asgi.get("/file")
async def file():
    return FileResponse(__file__, media_type="text/x-python")


@asgi.get("/boom")
async def boom():
    raise RuntimeError("boom")


@asgi.websocket("/websocket")
async def websocket(socket: WebSocket):
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)
