"""fptq quantize with calibration: from the command line to the disk, killed and resumed."""
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import time
import unittest

import harness
import tiny

KILLS = 100


def bytes_of(folder):
    """Name -> contents; of the manifest what does not change from run to run."""
    contents = {}
    for path in sorted(pathlib.Path(folder).rglob('*')):
        if path.is_dir():
            continue
        data = path.read_bytes()
        if path.name == 'fptq_manifest.json':
            manifest = json.loads(data)
            del manifest['run']
            data = json.dumps(manifest).encode()
        contents[str(path.relative_to(folder))] = data
    return contents


class Calibrated(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        rng = random.Random(5)
        cls.text = cls.folder / 'text.txt'
        cls.text.write_text(' '.join(''.join(rng.choices('abcdefghijklmnop', k=rng.randint(1, 7)))
                                     for _ in range(3000)))

    def arguments(self, name, *flags, calib=None, samples=24):
        return ['quantize', self.model, '-o', self.folder / name, '--recipe', 'fptq', '--calib',
                calib or self.text, '--samples', samples, '--seqlen', '48', *flags]

    def assert_same(self, expected, found):
        self.assertEqual(list(expected), list(found))
        for name in expected:
            self.assertEqual(expected[name] == found[name], True, name)

    def test_the_time_of_rounding_is_a_part_of_the_whole(self):
        report = self.json_of(*self.arguments('timed'))
        self.assertGreater(report['rounding_seconds'], 0)
        self.assertLess(report['rounding_seconds'], report['seconds'])

    def test_the_recipe_says_everything_that_the_output_depends_on(self):
        self.succeed(*self.arguments('first'))
        recipe = self.folder / 'first' / 'recipe.yaml'
        self.succeed('quantize', self.model, '-o', self.folder / 'again', '--recipe', recipe)
        self.assertEqual(bytes_of(self.folder / 'first'), bytes_of(self.folder / 'again'))
        manifest = json.loads((self.folder / 'first' / 'fptq_manifest.json').read_text())
        self.assertEqual(24, manifest['calibration']['sequences'])
        self.assertEqual(24 * 48, manifest['calibration']['tokens'])
        self.assertRegex(manifest['calibration_sha256'], '^[0-9a-f]{64}$')

    def test_the_output_does_not_depend_on_threads_and_instruction_sets(self):
        self.succeed(*self.arguments('one', '--threads', '1'))
        self.succeed(*self.arguments('three', '--threads', '3'))
        one = bytes_of(self.folder / 'one')
        self.assertEqual(one, bytes_of(self.folder / 'three'))
        for isa in ('scalar', 'avx2', 'avx512vnni', 'amx', 'neon'):
            result = harness.fptq(*self.arguments(isa, '--isa', isa))
            if result.returncode == 0:
                self.assert_same(one, bytes_of(self.folder / isa))
            else:  # this CPU lacks it, and that is said
                self.assertEqual(3, result.returncode)
                self.assertIn(isa, result.stderr.decode())
                self.assertNotEqual('scalar', isa)

    def test_killed_at_random_moments_it_goes_on_and_gives_the_same_bytes(self):
        whole = self.folder / 'whole'
        began = time.monotonic()
        self.succeed(*self.arguments('whole'))
        duration = time.monotonic() - began
        expected = bytes_of(whole)
        rng = random.Random(7)
        output = self.folder / 'killed'
        kills = finished = went_on = 0
        while kills < KILLS:
            flags = ['--resume'] if output.with_suffix('.partial').exists() else []
            command = [harness.PROGRAM, *map(str, self.arguments('killed', *flags))]
            process = subprocess.Popen(command, env=harness.clean_environment(),
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                process.wait(rng.uniform(0, 1.2 * duration))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.wait()
            stderr = process.stderr.read().decode()
            process.stderr.close()
            went_on += bool(flags)
            if process.returncode != -signal.SIGKILL:
                self.assertEqual(0, process.returncode, stderr)
                finished += 1
            if output.exists():  # a final name is never incomplete
                self.assert_same(expected, bytes_of(output))
                self.assertFalse(output.with_suffix('.partial').exists())
                shutil.rmtree(output)
        self.assertGreater(went_on, 10)
        self.assertGreater(finished, 1)
        if output.with_suffix('.partial').exists():
            self.succeed(*self.arguments('killed', '--resume'))
            self.assert_same(expected, bytes_of(output))

    def test_interrupted_it_says_how_to_go_on(self):
        command = [harness.PROGRAM, *map(str, self.arguments('stopped', samples=400))]
        process = subprocess.Popen(command, env=harness.clean_environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        block = self.folder / 'stopped.partial' / 'calibration' / 'block-00000'
        while process.poll() is None and not block.exists():
            time.sleep(0.001)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
        if process.returncode != 0:  # it may have been quicker
            self.assertEqual(130, process.returncode, stderr.decode())
            self.assertIn('with --resume goes on from there', stderr.decode())
            self.fail_with(2, *self.arguments('stopped', samples=400), says='Go on with --resume')
            self.fail_with(2, *self.arguments('stopped', '--resume', samples=399),
                           says='--resume: expected a run with the same recipe')
            self.succeed(*self.arguments('stopped', '--resume', samples=400))

    def test_a_full_disk_keeps_what_is_finished(self):
        def limit():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (150000, 150000))
        result = harness.fptq(*self.arguments('full'), preexec_fn=limit)
        self.assertEqual(4, result.returncode, result.stderr)
        self.assertIn('Free some space', result.stderr.decode())
        self.assertFalse((self.folder / 'full').exists())
        self.succeed(*self.arguments('full', '--overwrite'))

    def test_calibration_text_that_is_of_no_use(self):
        cases = {
            'empty.txt': (b'', 'empty.txt'),
            'blank.txt': (b' \n' * 20, 'blank.txt'),
            'binary.bin': (bytes(range(256)) * 40, 'binary.bin'),
            'nul.txt': (b'abc\0def' * 100, 'nul.txt'),
            'broken.jsonl': (b'{"text": "abc def"\n' * 50, 'broken.jsonl'),
            'other.jsonl': (b'{"content": "abc def"}\n' * 50, '"text"'),
        }
        for name, (data, says) in cases.items():
            with self.subTest(name):
                path = self.folder / name
                path.write_bytes(data)
                self.fail_with(3, *self.arguments('never', calib=path), says=says)
                self.assertFalse((self.folder / 'never.partial').exists())
        self.fail_with(3, *self.arguments('never', calib=self.folder / 'absent.txt'),
                       says='absent.txt')
        self.assertFalse((self.folder / 'never').exists())

    def test_a_text_too_short_for_all_sequences_is_used_with_a_warning(self):
        path = self.folder / 'little.txt'
        path.write_text('abc def ghi ' * 5)
        result = harness.fptq(*self.arguments('little', calib=path))
        self.assertEqual(0, result.returncode, result.stderr)
        self.assertRegex(result.stderr.decode(), 'warning: .*little.txt')
        self.assertRegex(result.stderr.decode(), 'warning: calibration: [0-9]+ tokens, fewer than')

    def test_a_long_line_is_read_in_bounded_time(self):
        path = self.folder / 'line.txt'
        path.write_bytes(b'abc defg hij ' * 800_000)  # 10 MB
        began = time.monotonic()
        self.succeed(*self.arguments('line', calib=path))
        self.assertLess(time.monotonic() - began, 60)

    def test_a_run_does_not_go_on_with_another_model_of_the_same_shapes(self):
        command = [harness.PROGRAM, *map(str, self.arguments('other', samples=400))]
        process = subprocess.Popen(command, env=harness.clean_environment(),
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        block = self.folder / 'other.partial' / 'calibration' / 'block-00000'
        while process.poll() is None and not block.exists():
            time.sleep(0.001)
        process.kill()
        process.wait()
        if (self.folder / 'other').exists():  # it was quicker
            return
        weights = self.model / 'model.safetensors'
        data = weights.read_bytes()
        try:
            weights.write_bytes(data[:-400] + bytes(byte ^ 1 for byte in data[-400:]))
            self.fail_with(2, *self.arguments('other', '--resume', samples=400),
                           says='--resume: expected a run with the same checkpoint')
        finally:
            weights.write_bytes(data)
        self.succeed(*self.arguments('other', '--resume', samples=400))

    def test_what_lies_beside_the_output_is_left_alone(self):
        beside = self.folder / 'mine.calibration'
        beside.mkdir()
        (beside / 'notes.txt').write_text('keep')
        self.succeed(*self.arguments('mine'))
        self.assertEqual('keep', (beside / 'notes.txt').read_text())
        self.assertEqual(['mine', 'mine.calibration'],
                         sorted(path.name for path in self.folder.glob('mine*')))

    def test_readers_of_one_input_may_differ_in_their_activations(self):
        for name, override in (('first', 'q_proj=w8c-a8s'), ('last', 'v_proj=w8c-a8s'),
                               ('rule', '.*=w8c-a8s')):
            self.succeed(*self.arguments(f'readers-{name}', '--override', override))
            tensors = self.json_of('inspect', self.folder / f'readers-{name}')['tensors']
            schemes = {tensor['name']: tensor['scheme'] for tensor in tensors}
            for module in 'qkv':
                wanted = override.startswith(('.*', module))
                self.assertEqual('w8c-a8s' if wanted else 'w4g32-a8t',
                                 schemes[f'model.layers.0.self_attn.{module}_proj.weight'])
            self.succeed('run', self.folder / f'readers-{name}', '-p', 'abc', '-n', '2')

    def test_static_activations_run(self):
        self.succeed(*self.arguments('static', '--activations', 'a8s'))
        schemes = {tensor['name']: tensor['scheme']
                   for tensor in self.json_of('inspect', self.folder / 'static')['tensors']}
        self.assertEqual('w4g32-a8s', schemes['model.layers.0.mlp.up_proj.weight'])
        self.succeed('run', self.folder / 'static', '-p', 'abc', '-n', '4', '--require',
                     'w4g32-a8s')

    def test_roundings_without_data_need_no_text(self):
        for rounding in ('rtn', 'hqq'):
            self.succeed('quantize', self.model, '-o', self.folder / rounding, '--rounding',
                         rounding, '--recipe', 'rtn')
        first, second = (json.loads((self.folder / name / 'fptq_manifest.json').read_text())
                         for name in ('rtn', 'hqq'))
        self.assertIsNone(second['calibration_sha256'])
        self.assertNotEqual(first['files']['model.safetensors'], second['files']['model.safetensors'])


if __name__ == '__main__':
    unittest.main()
