"""A Flask application."""

from flask import Flask, Response, abort, jsonify, request, send_file

wsgi = Flask(__name__)


@wsgi.get("/item/<int:number>")
def item(number):
    if number > 9:
        abort(404)
    return jsonify(item=number)


@wsgi.post("/echo")
def echo():
    return request.get_json(), 201


@wsgi.get("/stream")
def stream():
    return Response(f"{i}\n".encode() for i in range(3))


@wsgi.get("/later")
def later():
    return "later"


@wsgi.get("/file")
def file():
    return send_file(__file__, mimetype="text/x-python")


@wsgi.get("/boom")
def boom():
    raise RuntimeError("boom")
