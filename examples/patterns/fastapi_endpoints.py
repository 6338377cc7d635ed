"""Collects feedback in a FastAPI application: Harken's endpoints as a router, and an endpoint of the application.

Serve it with ``uvicorn --app-dir examples/patterns fastapi_endpoints:app``; http://127.0.0.1:8000/docs lists the
endpoints. ``python examples/patterns/fastapi_endpoints.py``, optionally followed by the URL of a storage, serves it on
a free port, sends some requests and ends.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from socket import create_server
from threading import Thread

import httpx
import uvicorn
from fastapi import FastAPI

import harken
from harken import AsyncHarken
from harken_adapters.hosts.fastapi import feedback_router

# None selects the storage that HARKEN_STORAGE or harken.toml names.
hk = AsyncHarken(harken.connect(next(iter(sys.argv[1:]), "memory://") if __name__ == "__main__" else None))


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close the connection when the application ends."""
    async with hk:
        yield


app = FastAPI(title="Helper", lifespan=lifespan)
app.include_router(feedback_router(hk.sync))


@app.get("/score/{agent_id}")
async def score(agent_id: str) -> dict[str, float]:
    """Returns the satisfaction of an agent, in percent."""
    summary = await hk.summary(agent_id=agent_id)
    return {"satisfaction": round(summary.satisfaction, 1)}


@contextmanager
def serve() -> Iterator[str]:
    """Serve the application in a thread on a free port; yields its URL."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    listening = create_server(("127.0.0.1", 0))
    thread = Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def main() -> None:
    feedback = "/api/sessions/user-123/feedback"
    key = {"Authorization": f"Bearer {hk.sync.keys.create('default', ['submit', 'read']).text}"}
    with serve() as url, httpx.Client(base_url=url, headers=key) as client:
        for body in [
            {"rating": "up", "comment": "Great answer!", "agent_id": "helper"},
            {"rating": "down", "comment": "Too slow", "agent_id": "helper"},
            {"rating": "down", "comment": ""},
        ]:
            response = client.post(feedback, json=body)
            content = response.json()
            print(response.status_code, content.get("message") or content["detail"])
        print([one["comment"] for one in client.get(feedback).json()["feedbacks"]])
        print(client.get(f"{feedback}/stats").json())
        print(client.get("/score/helper").json())


if __name__ == "__main__":
    main()
