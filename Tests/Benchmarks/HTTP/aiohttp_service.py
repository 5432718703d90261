"""The two routes of service.lua with aiohttp. Usage: aiohttp_service.py PORT."""

import sys

from aiohttp import web


async def hello(request):
    return web.Response(text="hello")


async def echo(request):
    return web.json_response(await request.json())


application = web.Application()
application.router.add_get("/hello", hello)
application.router.add_post("/echo", echo)
web.run_app(application, host="127.0.0.1", port=int(sys.argv[1]), access_log=None, print=None)
