"""Models and data sets from a hub: fptq pull, and hub names as MODEL."""
import email.utils
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest

import harness
import tiny
from hub_server import COMMIT, Hub, git_hash, sha256

PARQUET = pathlib.Path(__file__).parents[1] / 'golden' / 'parquet'
WEIGHTS = bytes(range(256)) * 1024


class HubTest(harness.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.hub = Hub()

    @classmethod
    def tearDownClass(cls):
        cls.hub.close()
        super().tearDownClass()

    def setUp(self):
        self.home = pathlib.Path(tempfile.mkdtemp(dir=self.folder))
        self.cache = self.home / 'hub'
        self.repository = self.cache / 'models--org--tiny'
        self.files = {'config.json': b'{"a": 1}', 'tokenizer.json': b'{}',
                      'model.safetensors': WEIGHTS, 'README.md': b'# tiny',
                      'pytorch_model.bin': b'pickle', 'original/consolidated.00.pth': b'pickle'}
        self.hub.reset({'org/tiny': self.files})

    def environment(self, **changes):
        kept = {'HF_HOME': str(self.home), 'HF_ENDPOINT': self.hub.api.url,
                'HF_HUB_DOWNLOAD_TIMEOUT': '1', 'HF_HUB_ETAG_TIMEOUT': '1',
                'FPTQ_HUB_RETRY_MS': '10', 'no_proxy': '*', **changes}
        clean = {k: v for k, v in harness.clean_environment().items()
                 if not k.startswith(('HF_', 'HUGGING', 'TRANSFORMERS_', 'XDG_CACHE', 'SSL_CERT',
                                      'REQUESTS_CA', 'CURL_CA'))}
        return {**clean, **kept}

    def pull(self, *arguments, **changes):
        return self.succeed('pull', *arguments, env=self.environment(**changes))

    def pull_fails(self, code, *arguments, says=(), **changes):
        return self.fail_with(code, 'pull', *arguments, says=says, env=self.environment(**changes))

    def snapshot(self):
        return self.repository / 'snapshots' / COMMIT

    def part(self):
        return self.repository / 'blobs' / (sha256(WEIGHTS) + '.incomplete')


class PullModel(HubTest):
    def test_lays_the_cache_out_as_other_clients_do(self):
        self.assertEqual(f'{self.snapshot()}\n', self.pull('org/tiny'))
        names = sorted(p.name for p in self.snapshot().iterdir())
        self.assertEqual(['config.json', 'model.safetensors', 'tokenizer.json'], names)
        for name in names:
            link = self.snapshot() / name
            content = self.files[name]
            digest = sha256(content) if name == 'model.safetensors' else git_hash(content)
            self.assertEqual(f'../../blobs/{digest}', os.readlink(link))
            self.assertEqual(content, link.read_bytes())
        self.assertEqual(COMMIT, (self.repository / 'refs' / 'main').read_text())
        blobs = sorted(p.name for p in (self.repository / 'blobs').iterdir())
        self.assertEqual(3, len(blobs), blobs)  # no part file is left

    def test_fetches_several_files_at_once(self):
        barrier = threading.Barrier(3)
        self.hub.faults = {name: [('meet', barrier)]
                           for name in ('/config.json', '/tokenizer.json', sha256(WEIGHTS))}
        self.pull('org/tiny', HF_HUB_DOWNLOAD_TIMEOUT='30')
        self.assertFalse(barrier.broken)
        for name in ('config.json', 'tokenizer.json', 'model.safetensors'):
            self.assertEqual(self.files[name], (self.snapshot() / name).read_bytes())

    def test_files_beside_one_that_fails_are_taken_up_later(self):
        self.hub.faults = {'/config.json': [('status', (403, {}))]}
        self.pull_fails(3, 'org/tiny', says='config.json')
        self.assertFalse(self.snapshot().exists())
        self.pull('org/tiny')
        self.assertEqual(WEIGHTS, (self.snapshot() / 'model.safetensors').read_bytes())

    def test_fetches_nothing_twice(self):
        self.pull('org/tiny')
        first = len(self.hub.seen('GET', ''))
        result = json.loads(self.pull('org/tiny', '--json', '-'))
        self.assertEqual([False] * 3, [file['fetched'] for file in result['files']])
        self.assertEqual(first + 1, len(self.hub.seen('GET', '')))  # the listing
        self.assertEqual(COMMIT, result['commit'])
        self.assertEqual(str(self.snapshot()), result['path'])
        self.assertEqual(len(WEIGHTS), [f['bytes'] for f in result['files']
                                        if f['name'] == 'model.safetensors'][0])

    def test_includes_other_files_on_demand(self):
        out = self.pull('org/tiny', '--include', '*.md', '--include', 'config*')
        there = self.snapshot()
        self.assertEqual(f"{there / 'config.json'}\n{there / 'README.md'}\n", out)
        self.pull_fails(3, 'org/tiny', '--include', '*.txt',
                        says='org/tiny: --include *.txt: expected files that match, got none of 6')

    def test_takes_revisions_apart(self):
        self.hub.repositories = {'org/tiny@refs/pr/1': self.files}
        self.pull('org/tiny@refs/pr/1')
        self.assertEqual(COMMIT, (self.repository / 'refs/refs/pr/1').read_text())
        self.pull(f'org/tiny@{COMMIT}')
        self.assertEqual(['refs'], [p.name for p in (self.repository / 'refs').iterdir()])
        self.pull_fails(3, 'org/tiny@v2', says='org/tiny@v2: there is no such revision')

    def test_links_files_in_folders(self):
        self.files['sub/dir/a.txt'] = b'a'
        self.pull('org/tiny', '--include', 'sub/*')
        link = self.snapshot() / 'sub/dir/a.txt'
        self.assertEqual(f"../../../../blobs/{git_hash(b'a')}", os.readlink(link))
        self.assertEqual(b'a', link.read_bytes())

    def test_refuses_pickles_and_empty_repositories(self):
        for unwanted in ['model.safetensors', 'config.json']:
            del self.files[unwanted]
        self.pull_fails(3, 'org/tiny', says='got pickles only')
        self.hub.repositories['org/tiny'] = {'README.md': b''}
        self.pull_fails(3, 'org/tiny', says='expected *.safetensors or a GGUF file, got none')
        self.hub.repositories['org/tiny'] = {'a.gguf': b'', 'b.gguf': b''}
        self.pull_fails(2, 'org/tiny', says='got the GGUF files a.gguf b.gguf')


class Trouble(HubTest):
    def test_takes_up_a_cut_connection_within_a_command(self):
        self.hub.faults = {sha256(WEIGHTS): [('cut', 1000), ('cut', 2000)]}
        self.pull('org/tiny')
        ranges = [request[3].get('Range') for request in self.hub.seen('GET', sha256(WEIGHTS))]
        self.assertEqual([None, 'bytes=1000-', 'bytes=3000-'], ranges)
        self.assertEqual(WEIGHTS, (self.snapshot() / 'model.safetensors').read_bytes())

    def test_takes_up_a_cut_connection_in_another_command(self):
        self.hub.faults = {sha256(WEIGHTS): [('cut', 100)] * 5}
        self.pull_fails(3, 'org/tiny', says=['model.safetensors: the connection was cut, 5 times',
                                             'The same command goes on from here later'])
        self.assertEqual(500, self.part().stat().st_size)
        self.assertFalse(self.snapshot().exists())
        self.pull('org/tiny')
        self.assertEqual('bytes=500-', self.hub.seen('GET', sha256(WEIGHTS))[-1][3]['Range'])
        self.assertFalse(self.part().exists())

    def test_starts_over_where_the_server_cannot_resume(self):
        self.hub.faults = {sha256(WEIGHTS): [('cut', 100), ('ignore range', None)]}
        self.pull('org/tiny')
        self.assertEqual(WEIGHTS, (self.snapshot() / 'model.safetensors').read_bytes())

    def test_gives_up_on_a_server_that_stalls(self):
        self.hub.faults = {sha256(WEIGHTS): [('stall', 1000)] * 5}
        begin = time.monotonic()
        self.pull_fails(3, 'org/tiny', says=['model.safetensors: nothing arrived for 1 s',
                                             'HF_HUB_DOWNLOAD_TIMEOUT'])
        self.assertLess(time.monotonic() - begin, 60)
        self.assertEqual(5000, self.part().stat().st_size)

    def test_throws_away_what_has_another_hash(self):
        digest = git_hash(self.files['config.json'])
        self.hub.faults = {'config.json': [('change', None)]}
        self.pull_fails(3, 'org/tiny', says=f"expected git's hash {digest}, got ")
        self.assertFalse((self.repository / 'blobs' / digest).exists())
        self.pull('org/tiny')

    def test_throws_away_weights_that_have_another_hash(self):
        self.hub.faults = {sha256(WEIGHTS): [('change', None)]}
        self.pull_fails(3, 'org/tiny', says=[f'expected sha256 {sha256(WEIGHTS)}, got ',
                                             'What arrived was thrown away; try again'])
        self.assertFalse(self.part().exists())
        self.assertFalse((self.repository / 'blobs' / sha256(WEIGHTS)).exists())
        self.pull('org/tiny')

    def test_checks_the_hash_of_what_was_resumed(self):
        self.part().parent.mkdir(parents=True)
        self.part().write_bytes(b'x' * 1000)
        self.pull_fails(3, 'org/tiny', says='expected sha256')
        self.assertFalse(self.part().exists())

    def test_does_not_believe_in_sizes(self):
        for claimed in [len(WEIGHTS) - 1, len(WEIGHTS) + 1]:
            self.hub.claimed_size = claimed
            self.pull_fails(3, 'org/tiny', says=f'expected {claimed} bytes, got {len(WEIGHTS)}')
        self.hub.claimed_size = 1 << 60
        self.pull_fails(4, 'org/tiny', says=['expected room for 11529215046', 'HF_HUB_CACHE'])
        self.assertFalse(self.snapshot().exists())

    def test_stops_at_bytes_beyond_the_size(self):
        self.hub.claimed_size = 1000
        self.part().parent.mkdir(parents=True)
        self.part().write_bytes(WEIGHTS[:100])  # so that the answer has no length to compare
        self.pull_fails(3, 'org/tiny', says='expected 1000 bytes, got more')
        self.assertFalse(self.part().exists())

    def test_says_what_a_refusal_means(self):
        gated = ('status', (403, {'X-Error-Code': 'GatedRepo'}))
        self.hub.faults = {'/revision/main': [gated, gated, ('status', (401, {}))]}
        self.pull_fails(3, 'org/tiny', says=['access is refused (status 403)', self.hub.api.url,
                                             'set HF_TOKEN to a token of that account'])
        self.pull_fails(3, 'org/tiny', says='check that HF_TOKEN belongs to that account',
                        HF_TOKEN='hf_secret')
        self.pull_fails(3, 'org/tiny', says='it is not there, or private (status 401)')
        self.pull_fails(3, 'org/other', says=['org/other@main: there is no such name', '--dataset'])

    def test_waits_when_asked_to(self):
        busy = ('status', (429, {'Retry-After': '1'}))
        self.hub.faults = {'/revision/main': [busy]}
        begin = time.monotonic()
        self.pull('org/tiny')
        self.assertGreaterEqual(time.monotonic() - begin, 1)

    def test_understands_a_date_to_wait_for(self):
        date = email.utils.formatdate(time.time() + 3, usegmt=True)  # of whole seconds
        self.hub.faults = {'/revision/main': [('status', (503, {'Retry-After': date}))]}
        begin = time.monotonic()
        self.pull('org/tiny')
        self.assertGreaterEqual(time.monotonic() - begin, 1)

    def test_does_not_wait_for_hours(self):
        self.hub.faults = {'/revision/main': [('status', (429, {'Retry-After': '7200'}))]}
        self.pull_fails(3, 'org/tiny', says=['status 429 and asks to wait for 7200 (s)'])

    def test_repeats_after_failures_of_the_server(self):
        self.hub.faults = {'/revision/main': [('status', (500, {})), ('status', (503, {}))],
                           sha256(WEIGHTS): [('status', (502, {}))]}
        self.pull('org/tiny')
        self.hub.faults = {'/revision/main': [('status', (503, {}))] * 5}
        self.pull_fails(3, 'org/tiny', says='the server answers with status 503, 5 times')
        self.assertEqual([], self.hub.faults['/revision/main'])

    def test_says_that_nobody_answers(self):
        with socket.socket() as unused:
            unused.bind(('127.0.0.1', 0))
            endpoint = f'http://127.0.0.1:{unused.getsockname()[1]}'
            self.pull_fails(3, 'org/tiny', says=['Failed to connect', '5 times'],
                            HF_ENDPOINT=endpoint)

    def wait_for_part(self, size):
        for _ in range(500):
            if self.part().exists() and self.part().stat().st_size == size:
                return
            time.sleep(0.02)
        self.fail(f'the part never had {size} bytes')

    def test_two_commands_share_a_download(self):
        self.hub.faults = {sha256(WEIGHTS): [('stall', 1000)]}
        first = subprocess.Popen([harness.PROGRAM, 'pull', 'org/tiny'], stderr=subprocess.PIPE,
                                 stdout=subprocess.PIPE, env=self.environment())
        self.wait_for_part(1000)
        result = json.loads(self.pull('org/tiny', '--json', '-'))
        _, stderr = first.communicate(timeout=20)
        self.assertEqual(0, first.returncode, stderr)
        self.assertEqual([False] * 3, [file['fetched'] for file in result['files']])
        self.assertEqual(2, len(self.hub.seen('GET', sha256(WEIGHTS))))  # stalled, then resumed

    def test_goes_on_after_an_interrupt(self):
        self.hub.faults = {sha256(WEIGHTS): [('stall', 1000)]}
        process = subprocess.Popen([harness.PROGRAM, 'pull', 'org/tiny'], stderr=subprocess.PIPE,
                                   stdout=subprocess.PIPE,
                                   env=self.environment(HF_HUB_DOWNLOAD_TIMEOUT='60'))
        self.wait_for_part(1000)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)
        self.assertEqual(130, process.returncode, stderr)
        self.assertIn(b'interrupted; the same command goes on from here', stderr)
        self.assertEqual(1000, self.part().stat().st_size)
        self.pull('org/tiny')
        self.assertEqual('bytes=1000-', self.hub.seen('GET', sha256(WEIGHTS))[-1][3]['Range'])


class Distrust(HubTest):
    def test_gives_the_token_to_the_endpoint_only(self):
        self.pull('org/tiny', HF_TOKEN='hf_secret')
        for _, server, path, headers in self.hub.requests:
            expected = 'Bearer hf_secret' if server is self.hub.api else None
            self.assertEqual(expected, headers.get('Authorization'), path)
        self.assertTrue(self.hub.seen('GET', sha256(WEIGHTS)))

    def test_finds_the_token_where_others_put_it(self):
        (self.home / 'token').write_text('hf_file\n')
        self.pull('org/tiny')
        self.assertEqual('Bearer hf_file', self.hub.requests[0][3]['Authorization'])
        self.hub.requests.clear()
        self.pull('org/tiny', HF_HUB_DISABLE_IMPLICIT_TOKEN='1')
        self.assertNotIn('Authorization', self.hub.requests[0][3])
        self.pull_fails(2, 'org/tiny', says='HF_TOKEN: expected a token of printable characters',
                        HF_TOKEN='a\nX-Evil: b')

    def test_follows_redirects_of_its_own_host_for_metadata(self):
        path = f'/org/tiny/resolve/{COMMIT}/config.json'
        self.hub.faulty_methods = ('HEAD',)
        self.hub.faults = {'config.json': [('redirect', path)] * 2}
        self.pull('org/tiny')
        self.assertEqual(self.files['config.json'], (self.snapshot() / 'config.json').read_bytes())

    def test_refuses_endless_redirects(self):
        path = f'/org/tiny/resolve/{COMMIT}/config.json'
        self.hub.faults = {'config.json': [('redirect', path)] * 20}
        self.pull_fails(3, 'org/tiny', says='expected at most 10 redirects, got more')

    def test_refuses_redirects_to_other_protocols(self):
        for target in ['file:///etc/passwd', 'ftp://127.0.0.1/x', 'gopher://127.0.0.1/']:
            self.hub.faults = {'config.json': [('redirect', target)]}
            self.pull_fails(3, 'org/tiny',
                            says=['expected a redirect to an address as safe', target])

    def test_refuses_paths_that_leave_the_snapshot(self):
        for path in ['../evil.json', '/etc/evil.json', 'a/../../evil', 'a//b', 'a\\b', 'a\nb', '']:
            self.hub.extra_siblings = [path]
            self.pull_fails(3, 'org/tiny', says="expected files below the repository's directory")
        self.assertFalse(self.repository.exists())

    def test_refuses_answers_about_another_commit(self):
        self.hub.commit = 'd' * 40
        self.hub.repositories['org/tiny'] = self.files
        self.pull_fails(3, 'org/tiny', says='there is no such name')
        self.hub.commit = '../../evil'
        self.pull_fails(3, 'org/tiny', says='expected a commit of 40 hexadecimal digits')

    def test_refuses_what_is_no_listing(self):
        self.hub.faults = {'/revision/main': [('status', (200, {}))]}
        self.pull_fails(3, 'org/tiny', says='/api/models/org/tiny/revision/main')

    def test_checks_what_is_typed(self):
        self.pull_fails(2, 'tiny', says='tiny: expected org/name')
        self.pull_fails(2, 'org/../x', says='expected org/name')
        self.pull_fails(2, 'org/tiny', '--split', 'test', says='give --dataset as well')
        self.pull_fails(2, 'org/tiny', HF_ENDPOINT='ftp://x', says='HF_ENDPOINT: expected https://')
        self.pull_fails(2, 'org/tiny', HF_HUB_DOWNLOAD_TIMEOUT='soon',
                        says='HF_HUB_DOWNLOAD_TIMEOUT: expected a whole number')


@unittest.skipUnless(shutil.which('openssl'), 'needs openssl to make a certificate')
class Encrypted(HubTest):
    """The same over TLS, with a certificate that this machine does not know."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.certificate, key = cls.folder / 'certificate.pem', cls.folder / 'key.pem'
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                        '-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1',
                        '-keyout', key, '-out', cls.certificate], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cls.certificate, key)
        for server in (cls.hub.api, cls.hub.cdn):
            server.socket = context.wrap_socket(server.socket, server_side=True)
            server.url = server.url.replace('http:', 'https:')

    def test_refuses_a_certificate_that_nobody_vouches_for(self):
        self.pull_fails(3, 'org/tiny', says=['certificate', 'SSL_CERT_FILE names further'],
                        HF_TOKEN='hf_secret')
        self.assertEqual([], self.hub.requests)

    def test_takes_certificates_that_the_user_names(self):
        self.pull('org/tiny', SSL_CERT_FILE=str(self.certificate))
        self.assertEqual(WEIGHTS, (self.snapshot() / 'model.safetensors').read_bytes())

    def test_does_not_leave_tls(self):
        self.hub.faults = {'config.json': [('redirect', 'http://127.0.0.1:1/config.json')]}
        self.pull_fails(3, 'org/tiny', SSL_CERT_FILE=str(self.certificate),
                        says='expected a redirect to an address as safe as this one')


class Names(HubTest):
    """Hub names where a MODEL is expected."""

    def setUp(self):
        super().setUp()
        model = self.home / 'model'
        tiny.write_checkpoint(model)
        self.files.clear()
        self.files.update({p.name: p.read_bytes() for p in model.iterdir()})

    def test_fetches_what_is_not_there(self):
        env = self.environment()
        first = self.json_of('inspect', 'org/tiny', env=env)
        requests = len(self.hub.requests)
        self.assertGreater(requests, 0)
        self.assertEqual(first, self.json_of('inspect', 'org/tiny', env=env))
        self.assertEqual(requests, len(self.hub.requests))  # what is there needs no network

    def test_every_command_takes_names(self):
        env = self.environment()
        out = self.home / 'out'
        self.succeed('quantize', 'org/tiny', '--recipe', 'rtn', '-o', out, env=env)
        self.succeed('verify', out, '--base', 'org/tiny', env=env)
        shutil.rmtree(self.cache)
        ids = self.succeed('tokenize', 'org/tiny', stdin='a', env=env)
        self.assertEqual(ids, self.succeed('tokenize', out, stdin='a', env=env))

    def test_completes_what_other_clients_left_in_part(self):
        self.pull('org/tiny', '--include', 'config.json')
        self.json_of('inspect', 'org/tiny', env=self.environment())
        self.assertTrue((self.snapshot() / 'model.safetensors').exists())

    def test_stays_offline_when_told_to(self):
        says = 'HF_HUB_OFFLINE says that nothing may be fetched'
        self.pull_fails(3, 'org/tiny', HF_HUB_OFFLINE='1', says=says)
        offline = self.environment(HF_HUB_OFFLINE='1')
        self.fail_with(3, 'inspect', 'org/tiny', env=offline, says=says)
        self.assertEqual([], self.hub.requests)
        self.pull('org/tiny')
        self.hub.requests.clear()
        self.assertEqual(f'{self.snapshot()}\n', self.pull('org/tiny', HF_HUB_OFFLINE='1'))
        self.json_of('inspect', 'org/tiny', env=self.environment(HF_HUB_OFFLINE='YES'))
        self.assertEqual([], self.hub.requests)

    def test_says_that_there_is_neither_path_nor_name(self):
        self.fail_with(3, 'inspect', 'org/other', env=self.environment(),
                       says=['there is no path org/other', 'there is no such name'])


class PullDataset(HubTest):
    def setUp(self):
        super().setUp()
        data = {name: (PARQUET / f'{name}.parquet').read_bytes()
                for name in ['zstd', 'snappy', 'v2']}
        self.data = {'ARC-Easy/test-00000-of-00002.parquet': data['zstd'],
                     'ARC-Easy/test-00001-of-00002.parquet': data['snappy'],
                     'ARC-Easy/train-00000-of-00001.parquet': data['v2'],
                     'ARC-Challenge/test-00000-of-00001.parquet': data['v2'],
                     'README.md': b''}
        self.hub.reset({'datasets/org/arc': self.data})

    def rows(self, path):
        return [json.loads(line) for line in path.read_text().splitlines()]

    def test_writes_a_split_as_jsonl(self):
        out = self.folder / 'arc_easy.jsonl'
        printed = self.pull('org/arc', '--dataset', '--config', 'ARC-Easy', '--split', 'test',
                            '-o', out)
        self.assertEqual(f'{out}\n', printed)
        rows = self.rows(out)
        self.assertEqual([f'q{i}' for i in range(25)] * 2, [row['id'] for row in rows])
        self.assertEqual({'text': ['2', '3'], 'label': ['A', 'B']}, rows[2]['choices'])
        self.assertEqual([None, 1, 2], [row['answer'] for row in rows[:3]])
        repository = self.cache / 'datasets--org--arc'
        self.assertEqual(2, len(list((repository / 'blobs').iterdir())))

    def test_writes_a_column_as_text(self):
        out = self.folder / 'text.txt'
        result = json.loads(self.pull('datasets/org/arc', '--config', 'ARC-Challenge', '-o', out,
                                      '--text', 'question', '--json', '-'))
        self.assertEqual(200, result['rows'])
        lines = out.read_text().splitlines()
        self.assertEqual(200, len(lines))
        self.assertEqual('How many are 3 and 3? \u00bd "a"', lines[3])
        self.pull_fails(2, 'datasets/org/arc', '--config', 'ARC-Challenge', '-o', out,
                        '--text', 'no', says='expected one of the columns id question choices answer')
        self.assertEqual(lines, out.read_text().splitlines())  # still the old one

    def test_fills_the_cache_and_prints_paths(self):
        printed = self.pull('datasets/org/arc', '--split', 'train').splitlines()
        self.assertEqual(1, len(printed))
        self.assertEqual(self.data['ARC-Easy/train-00000-of-00001.parquet'],
                         pathlib.Path(printed[0]).read_bytes())

    def test_says_which_splits_there_are(self):
        out = self.folder / 'not.jsonl'
        there = 'ARC-Challenge: test; ARC-Easy: test, train'
        self.pull_fails(3, 'datasets/org/arc', '--split', 'dev', says=there)
        self.pull_fails(2, 'datasets/org/arc', '-o', out,
                        says=['expected one configuration and split', there])
        self.assertFalse(out.exists())

    def test_takes_the_converted_copy(self):
        self.hub.repositories = {
            'datasets/org/arc': {'arc.py': b'code'},
            'datasets/org/arc@refs/convert/parquet':
                {'default/test/0000.parquet': self.data['ARC-Easy/test-00000-of-00002.parquet']}}
        out = self.folder / 'converted.jsonl'
        for offline in ['0', '1']:
            self.pull('datasets/org/arc', '--split', 'test', '-o', out, HF_HUB_OFFLINE=offline)
            self.assertEqual(25, len(self.rows(out)))

    def test_is_no_model(self):
        self.fail_with(2, 'inspect', 'datasets/org/arc', env=self.environment(),
                       says='expected a model, got a data set')

    def test_reports_damaged_files(self):
        damaged = b'PAR1' + b'x' * 100 + b'PAR1'
        self.data['ARC-Challenge/test-00000-of-00001.parquet'] = damaged
        self.pull_fails(3, 'datasets/org/arc', '--config', 'ARC-Challenge', '-o',
                        self.folder / 'damaged.jsonl', says='expected metadata of at most')


if __name__ == '__main__':
    unittest.main()
