"""A hub on 127.0.0.1 that speaks the API of Hugging Face's, and can be made to fail.

Large files are redirected to a second server, as to a CDN: another port is another origin.
"""
import hashlib
import http.server
import json
import threading
import time
import urllib.parse

COMMIT = 'c0ffee' + '0' * 34


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_hash(content):
    return hashlib.sha1(b'blob %d\0' % len(content) + content).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, handler):
        super().__init__(('127.0.0.1', 0), handler)
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.thread = threading.Thread(target=self.serve_forever, kwargs={'poll_interval': 0.02})
        self.thread.start()

    def close(self):
        self.shutdown()
        self.server_close()
        self.thread.join()

    def handle_error(self, request, client_address):
        pass  # clients that leave early are part of the tests


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers from the Hub that made it."""
    hub = None

    def log_message(self, *arguments):
        pass

    def reply(self, status, headers=(), body=b''):
        self.send_response(status)
        headers = dict(headers)
        headers.setdefault('Content-Length', len(body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def send_file(self, content, headers=(), fault=None):
        """The content, or the part from Range on; a fault may cut, stall or change it."""
        kind, value = fault or (None, None)
        begin = 0
        requested = self.headers.get('Range')
        headers = dict(headers)
        if requested and kind != 'ignore range':
            begin = int(requested[len('bytes='):-1])
            headers['Content-Range'] = f'bytes {begin}-{len(content) - 1}/{len(content)}'
        if requested and begin >= len(content):
            return self.reply(416)
        body = content[begin:]
        if kind == 'change':
            body = bytes([body[0] ^ 1]) + body[1:]
        if kind == 'longer':
            body += b'x' * value
        if kind in ('cut', 'stall'):
            headers['Content-Length'] = len(body)
            body = body[:value]
        self.reply(206 if 'Content-Range' in headers else 200, headers, body)
        if kind == 'stall':
            self.wfile.flush()
            time.sleep(30)
        if kind in ('cut', 'stall'):
            self.close_connection = True
        return None

    def do_GET(self):
        hub, path = self.hub, urllib.parse.unquote(self.path.partition('?')[0])
        hub.requests.append((self.command, self.server, path, dict(self.headers)))
        fault = None
        for suffix, faults in hub.faults.items():
            if path.endswith(suffix) and self.command in ('GET', *hub.faulty_methods) and faults:
                fault = faults.pop(0)
                break
        kind, value = fault or (None, None)
        if kind == 'meet':  # answer when as many requests are here as the barrier waits for
            value.wait(20)
        if kind == 'status':
            return self.reply(value[0], value[1])
        return self.answer(path, fault)

    def do_HEAD(self):
        self.do_GET()


class ApiHandler(Handler):
    def answer(self, path, fault):
        hub = self.hub
        for name, files in hub.repositories.items():
            kind = 'datasets' if name.startswith('datasets/') else 'models'
            api = f"/api/{kind}/{name.removeprefix('datasets/').split('@')[0]}/revision/"
            revision = name.partition('@')[2] or 'main'
            if path.startswith(api):
                if path[len(api):] not in (revision, COMMIT):
                    continue
                siblings = [{'rfilename': file} for file in [*files, *hub.extra_siblings]]
                body = {'id': name, 'sha': hub.commit, 'siblings': siblings}
                return self.reply(200, {}, json.dumps(body).encode())
            for state in (revision, COMMIT):
                resolve = f"/{name.split('@')[0]}/resolve/{state}/"
                if path.startswith(resolve) and path[len(resolve):] in files:
                    return self.send_resolved(path, files[path[len(resolve):]], fault)
        known = [name.removeprefix('datasets/').partition('@')[0] for name in hub.repositories]
        knows = '/revision/' in path and any(f'/{name}/' in path for name in known)
        code = 'RevisionNotFound' if knows else 'RepoNotFound'
        return self.reply(404, {'X-Error-Code': code})

    def send_resolved(self, path, content, fault):
        hub = self.hub
        about = {'X-Repo-Commit': COMMIT, 'ETag': f'"{git_hash(content)}"'}
        if fault and fault[0] == 'redirect':
            return self.reply(302, {**about, 'Location': fault[1]})
        if not path.endswith(hub.large):
            return self.send_file(content, about, fault)
        about['X-Linked-Etag'] = f'"{sha256(content)}"'
        about['X-Linked-Size'] = hub.claimed_size or len(content)
        hub.contents[sha256(content)] = content
        location = f'{hub.cdn.url}/{sha256(content)}?signature=x'
        return self.reply(302, {**about, 'Location': location})


class CdnHandler(Handler):
    def answer(self, path, fault):
        digest = path[1:]
        return self.send_file(self.hub.contents[digest], {'ETag': '"of-the-cdn"'}, fault)


class Hub:
    """repositories: 'org/name' or 'datasets/org/name[@revision]' -> {path: content}.
    faults: end of a path -> list of faults, one for each GET; see send_file()."""

    def __init__(self):
        self.reset({})
        self.api = Server(type('BoundApi', (ApiHandler,), {'hub': self}))
        self.cdn = Server(type('BoundCdn', (CdnHandler,), {'hub': self}))

    def reset(self, repositories):
        self.repositories = repositories
        self.faults = {}
        self.faulty_methods = ()
        self.extra_siblings = []
        self.claimed_size = None
        self.commit = COMMIT
        self.large = ('.safetensors', '.parquet', '.gguf')
        self.contents = {}
        self.requests = []

    def seen(self, method, suffix):
        return [request for request in self.requests
                if request[0] == method and request[2].endswith(suffix)]

    def close(self):
        self.api.close()
        self.cdn.close()
