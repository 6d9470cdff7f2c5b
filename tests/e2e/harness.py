"""Runs the built program, named by FPTQ_TEST_PROGRAM, in a private directory."""
import json
import os
import pathlib
import shutil
import struct
import subprocess
import tempfile
import unittest

PROGRAM = os.environ['FPTQ_TEST_PROGRAM']


def clean_environment(**changes):
    """The environment without anything that steers the program."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith('FPTQ_') and k != 'NO_COLOR'}
    kept.update(changes)
    return kept


def fptq(*arguments, stdin='', env=None, **options):
    """Runs the program; stdout and stderr are text."""
    return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin.encode(),
                          env=env or clean_environment(), capture_output=True, timeout=300,
                          **options)


def read_npy(path):
    """(shape, values) of a .npy file of float32."""
    data = pathlib.Path(path).read_bytes()
    assert data[:8] == b'\x93NUMPY\x01\x00', data[:8]
    header_bytes, = struct.unpack('<H', data[8:10])
    header = eval(data[10:10 + header_bytes])  # a literal, as numpy's own reader takes it
    assert header['descr'] == '<f4' and not header['fortran_order'], header
    body = data[10 + header_bytes:]
    return header['shape'], struct.unpack(f'<{len(body) // 4}f', body)


class ProgramTest(unittest.TestCase):
    """A folder of its own per class, and checks of exit codes with the output in the message."""

    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix='fptq_e2e_'))

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(cls.folder)

    def succeed(self, *arguments, **options):
        """Runs the program, which has to exit with 0. Returns what it printed to stdout."""
        result = fptq(*arguments, **options)
        self.assertEqual(0, result.returncode, result.stderr.decode())
        return result.stdout.decode()

    def fail_with(self, code, *arguments, says=(), **options):
        """Runs the program, which has to exit with `code`, print nothing to stdout, and say each
        of `says` in an error on stderr. Returns stderr."""
        result = fptq(*arguments, **options)
        stderr = result.stderr.decode()
        self.assertEqual(code, result.returncode, stderr)
        self.assertEqual(b'', result.stdout)
        self.assertIn('error: ', stderr)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, stderr)
        return stderr

    def json_of(self, *arguments, **options):
        """Runs the program with --json -. Returns what stdout, which has to be JSON alone, says."""
        return json.loads(self.succeed(*arguments, '--json', '-', **options))
