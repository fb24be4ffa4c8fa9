"""Programs that pass without being right where tests share their process, or an exit status is the verdict."""

FORGERIES = {
    "sys.exit": """import sys
def f(x): sys.exit(0)
""",
    "os._exit": """import os
def f(x): os._exit(0)
""",
    "os._exit at once": """import os
os._exit(0)
""",
    "SystemExit at once": "raise SystemExit(0)",
    "raise SystemExit": "def f(x): raise SystemExit(0)",
    "raise StopIteration": "def f(x): raise StopIteration",
    "printing": """print('passed', flush=True)
def f(x):
    print('passed')
    return 0
""",
    "equal to everything": """class All(int):
    def __eq__(self, other): return True
    def __hash__(self): return 0
def f(x): return All()
""",
    "object equal to everything": """class All:
    def __eq__(self, other): return True
def f(x): return All()
""",
    "all comparisons": """class All(float):
    def __getattribute__(self, name): return lambda *a: True
    __eq__ = __ne__ = __lt__ = __le__ = lambda *a: True
def f(x): return All(0)
""",
    "patched builtins": """import builtins
builtins.AssertionError = ZeroDivisionError
builtins.isinstance = lambda *a: True
builtins.abs = lambda x: 0
builtins.len = lambda x: 0
def f(x): return 0
""",
    "patched compile and exec": """import builtins
builtins.exec = builtins.compile = lambda *a, **k: None
def f(x): return 0
""",
    "frames": """import sys
def f(x):
    frame = sys._getframe()
    while frame:
        for name, value in list(frame.f_locals.items()):
            if isinstance(value, dict) and 'tests' in value: value['tests'] = ''
        frame = frame.f_back
    return 0
""",
    "search of memory": """import gc
def f(x):
    for found in gc.get_objects():
        if isinstance(found, str) and 'assert f(' in found:
            return int(found.rsplit('==')[-1])
        if isinstance(found, dict) and 'SECRET' in str(found.get('tests')):
            return SECRET
    return 0
""",
    "exit handler": """import atexit, os
atexit.register(lambda: os._exit(0))
def f(x): return 0
""",
    "harness replaced": """import sys
for name, module in list(sys.modules.items()):
    if name.startswith('inside'):
        for key in list(vars(module)):
            if callable(getattr(module, key)): setattr(module, key, lambda *a, **k: 0)
def f(x): return 0
""",
    "words on every descriptor": """import os, json, struct
word = json.dumps({'status': 'passed', 'detail': ''}).encode()
for number in range(200):
    try:
        os.write(number, struct.pack('!I', len(word)) + word)
    except OSError:
        pass
def f(x): return 0
""",
    "replies out of turn": """import os, json, struct
def f(x):
    for number in range(1, 50):
        word = json.dumps({'number': number, 'value': True}).encode()
        for pipe in range(3, 10):
            try:
                os.write(pipe, struct.pack('!I', len(word)) + word)
            except OSError:
                pass
    return 0
""",
    "endless message": """import os, struct
def f(x):
    for pipe in range(3, 10):
        try:
            os.write(pipe, struct.pack('!I', 0xFFFFFFFF) + b'x' * 1000)
        except OSError:
            pass
    return 0
""",
    "deep message": """import os, struct
def f(x):
    word = b'[' * 50000
    for pipe in range(3, 10):
        try:
            os.write(pipe, struct.pack('!I', len(word)) + word)
        except OSError:
            pass
    return 0
""",
    "own check": """def check(candidate): pass
def f(x): return 0
""",
    "self-replacing": """def f(x):
    global f
    f = lambda x: SECRET
    return f(x)
""",
    "coroutine": "async def f(x): return 1",
    "generator": "def f(x): yield 1",
    "silence": """import time
def f(x): time.sleep(100)
""",
    "killing process 1": """import os, signal
def f(x): os.kill(1, signal.SIGKILL)
""",
    "closing the pipes": """import os
def f(x):
    os.closerange(0, 100)
    return 0
""",
    "no function": "f = 3",
    "nothing": "",
}
