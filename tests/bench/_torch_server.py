"""The model as a paper's baseline has it: PyTorch, layer by layer, behind an aiohttp handler.

It takes JPEG files by POST and answers with the scores' bytes.
"""

from __future__ import annotations

import asyncio
import io
import sys

import numpy as np
import torch
from aiohttp import web
from PIL import Image
from torchvision.models import mobilenet_v2


async def main(host: str, port: int) -> None:
    """Serves MobileNetV2 (random weights: they cost the same) at that address; prints the port."""
    torch.set_num_threads(1)
    model = mobilenet_v2().eval()

    async def infer(request: web.Request) -> web.Response:
        pixels = np.asarray(Image.open(io.BytesIO(await request.read())).convert("RGB"))
        picture = torch.from_numpy(pixels.astype(np.float32).transpose(2, 0, 1)[None] / 128 - 1)
        with torch.inference_mode():
            return web.Response(body=model(picture).numpy().tobytes())

    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/{point}", infer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    print(port, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
