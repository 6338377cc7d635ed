"""Takes feedback in a FastAPI application: Harken's own endpoints as a router, and one of the application's own.

Serve it with ``uvicorn --app-dir examples/patterns fastapi_endpoints:app``; http://127.0.0.1:8000/docs shows what there
is. ``python examples/patterns/fastapi_endpoints.py`` asks it a few things over a loopback connection, and ends; the URL
of a storage may stand behind that.
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
from harken_adapters.hosts.fastapi import feedback_router

# None is what HARKEN_STORAGE or harken.toml say.
hk = harken.connect(next(iter(sys.argv[1:]), "memory://") if __name__ == "__main__" else None)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Close what was connected when the application ends."""
    yield
    hk.close()


app = FastAPI(title="Helper", lifespan=lifespan)
app.include_router(feedback_router(hk))


@app.get("/score/{agent_id}")
def score(agent_id: str) -> dict[str, float]:
    """An endpoint of the application's own, on the same feedback."""
    return {"satisfaction": round(hk.summary(agent_id=agent_id).satisfaction, 1)}


@contextmanager
def served() -> Iterator[str]:
    """Serve the application in a thread, on any port that is free; its URL."""
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
    key = {"Authorization": f"Bearer {hk.keys.create('default', ['submit', 'read']).text}"}
    with served() as url, httpx.Client(base_url=url, headers=key) as client:
        for body in [
            {"rating": "up", "comment": "Great answer!", "agent_id": "helper"},
            {"rating": "down", "comment": "Too slow", "agent_id": "helper"},
            {"rating": "down", "comment": ""},
        ]:
            answer = client.post(feedback, json=body)
            said = answer.json()
            print(answer.status_code, said.get("message") or said["detail"])
        print([one["comment"] for one in client.get(feedback).json()["feedbacks"]])
        print(client.get(f"{feedback}/stats").json())
        print(client.get("/score/helper").json())


if __name__ == "__main__":
    main()
