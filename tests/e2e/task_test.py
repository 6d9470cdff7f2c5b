"""fptq eval --task: built-in tasks and a user's own, samples, resuming, and files that it cannot use."""
import json
import math
import pathlib
import signal
import subprocess
import time
import unittest

import harness
import tiny

PARQUET = pathlib.Path(__file__).parents[1] / 'golden' / 'parquet'
OWN_TASK = """
task: colors
output_type: multiple_choice
doc_to_text: "{{thing}} is"
doc_to_choice: ["red", "green", "blue"]
doc_to_target: color
metric_list:
  - metric: acc
  - metric: acc_norm
"""

LAMBADA = [{'text': 'the quick brown fox jumps over the lazy dog'},
           {'text': 'the lazy dog slept for a day'},
           {'text': 'one two three\nfour'}]
ARC = [{'question': {'stem': f'which comes after {n}?',
                     'choices': [{'text': str(n + i), 'label': 'ABCD'[i]} for i in range(4)]},
        'answerKey': 'ABCD'[n % 4]} for n in range(40)]


def write_lines(path, documents):
    path.write_text(''.join(json.dumps(document) + '\n' for document in documents))
    return path


class Task(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        cls.arc = write_lines(cls.folder / 'arc.jsonl', ARC)
        cls.lambada = write_lines(cls.folder / 'lambada.jsonl', LAMBADA)
        cls.own = cls.folder / 'colors.yaml'
        cls.own.write_text(OWN_TASK)
        cls.things = cls.folder / 'things.csv'
        cls.things.write_text('thing,color\n"grass, mown",green\nsky,2\nblood,0\n')

    def tasks(self, *arguments):
        return self.json_of('eval', self.model, *arguments)['tasks']

    def samples(self, *arguments, name='samples.jsonl'):
        path = self.folder / name
        self.succeed('eval', self.model, *arguments, '--samples-out', path)
        self.assertFalse(path.with_name(name + '.partial').exists())
        return [json.loads(line) for line in path.read_text().splitlines()]

    def test_two_tasks_in_one_run(self):
        found = self.tasks('--task', f'arc_easy={self.arc}', '--task', f'lambada_openai={self.lambada}')
        arc, lambada = found['arc_easy'], found['lambada_openai']
        self.assertEqual((40, 3), (arc['n'], lambada['n']))
        for value in (arc['acc'], arc['acc_norm'], lambada['acc']):
            self.assertTrue(0 <= value <= 1)
        p = arc['acc']
        self.assertAlmostEqual(math.sqrt(p * (1 - p) / 39), arc['acc_stderr'], places=12)
        self.assertNotIn('acc_norm', lambada)
        # Random weights know nothing: a token is about as probable as each of 320.
        self.assertGreater(lambada['perplexity'], 100)

    def test_samples_hold_what_the_totals_are_made_of(self):
        documents = self.samples('--task', f'arc_easy={self.arc}', '--task', f'lambada_openai={self.lambada}')
        self.assertEqual(['arc_easy'] * 40 + ['lambada_openai'] * 3, [d['task'] for d in documents])
        first, last = documents[0], documents[-1]
        self.assertEqual('Question: which comes after 0?\nAnswer:', first['context'])
        self.assertEqual([' 0', ' 1', ' 2', ' 3'], first['continuations'])
        self.assertEqual((0, [2, 2, 2, 2]), (first['target'], first['tokens']))
        best = max(range(4), key=lambda i: first['ll'][i])
        self.assertEqual(float(best == first['target']), first['acc'])
        self.assertEqual(('one two', ' three\nfour'), (last['context'], last['target']))
        found = self.tasks('--task', f'lambada_openai={self.lambada}')['lambada_openai']
        mean = sum(d['ll'][0] for d in documents[-3:]) / 3
        self.assertAlmostEqual(1, found['perplexity'] / math.exp(-mean), places=12)

    def test_a_task_of_ones_own(self):
        documents = self.samples('--task', f'{self.own}={self.things}', '--shots', '1')
        self.assertEqual(3, len(documents))
        self.assertEqual([1, 2, 0], [d['target'] for d in documents])
        for document in documents:
            shot, question = document['context'].split('\n\n')
            self.assertRegex(shot, ' is (red|green|blue)$')
            self.assertNotEqual(shot.split(' is')[0], question.split(' is')[0])

    def test_a_printed_task_is_the_built_in_one(self):
        printed = self.folder / 'printed.yaml'
        printed.write_text(self.succeed('eval', '--print-task', 'arc_easy'))
        built_in = self.samples('--task', f'arc_easy={self.arc}', name='built_in.jsonl')
        self.assertEqual(built_in, self.samples('--task', f'{printed}={self.arc}', name='printed.jsonl'))
        self.fail_with(3, 'eval', '--print-task', 'arc_eazy', says='expected a .yaml file or one of')
        self.fail_with(2, 'eval', says='expected MODEL (or --print-task NAME)')

    def test_subjects_of_mmlu(self):
        root = self.folder / 'mmlu'
        for subject in ('high_school_physics', 'anatomy'):
            for split, rows in (('test', 3), ('dev', 2)):
                (root / split).mkdir(parents=True, exist_ok=True)
                (root / split / f'{subject}_{split}.csv').write_text(
                    ''.join(f'{subject} {split} {n}?,a,b,c,d,{"ABCD"[n]}\n' for n in range(rows)))
        documents = self.samples('--task', f'mmlu={root}', '--shots', '2', '--ctx', '2000')
        self.assertEqual(6, len(documents))
        self.assertEqual(
            'The following are multiple choice questions (with answers) about high school physics.\n\n'
            'high_school_physics dev 0?\nA. a\nB. b\nC. c\nD. d\nAnswer: A\n\n'
            'high_school_physics dev 1?\nA. a\nB. b\nC. c\nD. d\nAnswer: B\n\n'
            'high_school_physics test 2?\nA. a\nB. b\nC. c\nD. d\nAnswer:', documents[5]['context'])
        found = self.tasks('--task', f'mmlu={root}')['mmlu']
        self.assertEqual({'anatomy': 3, 'high_school_physics': 3},
                         {name: part['n'] for name, part in found['parts'].items()})
        self.assertAlmostEqual(found['acc'], sum(p['acc'] for p in found['parts'].values()) / 2)

    def test_scores_do_not_depend_on_kernels_and_threads(self):
        plain = self.samples('--task', f'arc_easy={self.arc}', '--isa', 'scalar', '--threads', '1')
        fast = self.samples('--task', f'arc_easy={self.arc}', '--threads', '3')
        self.assertEqual(plain, fast)

    def test_a_stopped_run_goes_on(self):
        many = write_lines(self.folder / 'many.jsonl', ARC * 60)
        whole = self.samples('--task', f'arc_easy={many}', name='whole.jsonl')
        path = self.folder / 'resumed.jsonl'
        partial = self.folder / 'resumed.jsonl.partial'
        command = [harness.PROGRAM, 'eval', self.model, '--task', f'arc_easy={many}', '--samples-out', path]
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True, env=harness.clean_environment())
        while process.poll() is None and not (partial.exists() and partial.stat().st_size > 20000):
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
        self.assertEqual(130, process.returncode, errors)
        self.assertIn('--resume goes on from there', errors)
        self.assertFalse(path.exists())
        done = partial.read_text().count('"doc"')
        self.assertTrue(0 < done < len(whole))
        self.fail_with(2, 'eval', self.model, '--task', f'arc_easy={many}', '--samples-out', path,
                       says=('resumed.jsonl.partial', 'Add --resume to go on from there'))
        self.succeed('eval', self.model, '--task', f'arc_easy={many}', '--samples-out', path, '--resume')
        self.assertEqual(whole, [json.loads(line) for line in path.read_text().splitlines()])

    def test_less_than_before_keeps_what_is_done(self):
        whole = self.samples('--task', f'arc_easy={self.arc}', name='all.jsonl')
        path = self.folder / 'less.jsonl'
        partial = self.folder / 'less.jsonl.partial'
        command = ('eval', self.model, '--task', f'arc_easy={self.arc}', '--samples-out', path, '--resume')
        self.succeed(*command)
        # As a killed run leaves it: the log without its result.
        run = json.loads((self.folder / 'less.jsonl').read_text().splitlines()[0])
        self.assertEqual(0, run['doc'])
        log = [{'doc': d['doc'], 'll': d['ll'], 'greedy': d['greedy']} for d in whole]
        key = self.key_of('--task', f'arc_easy={self.arc}')
        partial.write_text(''.join(json.dumps(line) + '\n' for line in [key, *log[:30]]))
        noted = harness.fptq(*command, '--limit', '10')
        self.assertEqual(0, noted.returncode, noted.stderr)
        self.assertIn(b'keeps 20 documents and windows that an earlier run measured', noted.stderr)
        self.assertEqual(whole[:10], [json.loads(line) for line in path.read_text().splitlines()])
        self.assertTrue(partial.exists())
        self.succeed(*command)
        self.assertEqual(whole, [json.loads(line) for line in path.read_text().splitlines()])
        self.assertFalse(partial.exists())

    def key_of(self, *arguments):
        """The line with which a run's log begins: a run is stopped when it has written it."""
        partial = self.folder / 'key.jsonl.partial'
        command = [harness.PROGRAM, 'eval', self.model, *arguments, '--samples-out', self.folder / 'key.jsonl']
        process = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env=harness.clean_environment())
        line = ''
        while not line.endswith('\n') and process.poll() is None:
            if partial.exists():
                line = ''.join(partial.read_text().splitlines(keepends=True)[:1])
        process.kill()
        process.wait()
        return json.loads(line)

    def test_windows_are_not_run_again(self):
        text = self.folder / 'text.txt'
        text.write_text('Once upon a time there was a little cat. ' * 120)
        arguments = ('--ppl', text, '--protocol', 'all', '--ctx', '64', '--kl', self.model)
        whole = self.json_of('eval', self.model, *arguments)
        path = self.folder / 'windows.jsonl'
        partial = self.folder / 'windows.jsonl.partial'
        command = [harness.PROGRAM, 'eval', self.model, *arguments, '--samples-out', path]
        for size in (1500, 60000):  # among the perplexities, among the divergences
            process = subprocess.Popen([str(part) for part in command + (['--resume'] if partial.exists() else [])],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env=harness.clean_environment())
            while process.poll() is None and not (partial.exists() and partial.stat().st_size > size):
                time.sleep(0.001)
            process.kill()
            process.wait()
        if not partial.exists():
            self.skipTest('the machine was faster than the test')
        resumed = self.json_of('eval', self.model, *arguments, '--samples-out', path, '--resume')
        self.assertEqual(whole['ppl'], resumed['ppl'])
        self.assertEqual(whole['kl'], resumed['kl'])
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        kinds = {'gptq', 'llamacpp', 'lm-eval'}
        self.assertEqual(kinds, {line['protocol'] for line in lines if 'protocol' in line})
        self.assertEqual(whole['kl']['window_kl'], [line['kl'] for line in lines if 'kl' in line])
        self.assertFalse(partial.exists())

    def test_a_directory_of_parquet_files(self):
        data = {name: (PARQUET / f'{name}.parquet').read_bytes() for name in ('zstd', 'snappy')}
        shards = self.folder / 'shards' / 'data'
        shards.mkdir(parents=True)
        (shards / 'test-00000-of-00002.parquet').write_bytes(data['zstd'])
        (shards / 'test-00001-of-00002.parquet').write_bytes(data['snappy'])
        (shards / 'train-00000-of-00001.parquet').write_bytes(data['zstd'])
        (self.folder / 'one.parquet').write_bytes(data['zstd'])
        task = self.folder / 'shards.yaml'
        task.write_text('task: shards\noutput_type: multiple_choice\ntest_split: test\n'
                        'doc_to_text: "{{question}}"\ndoc_to_choice: ["two", "three"]\n'
                        'doc_to_target: 0\nmetric_list:\n  - metric: acc\n')
        one = self.samples('--task', f'{task}={self.folder / "one.parquet"}', name='one.jsonl')
        both = self.samples('--task', f'{task}={shards.parent}', name='both.jsonl')
        self.assertEqual(25, len(one))
        self.assertEqual(50, len(both))
        self.assertEqual([line['ll'] for line in one], [line['ll'] for line in both[:25]])
        self.assertEqual(list(range(50)), [line['doc'] for line in both])
        (shards / 'test-00001-of-00002.parquet').unlink()
        self.rejects('--task', f'{task}={shards.parent}',
                     says=('data/test: expected 2 files, as the name test-00000-of-00002.parquet says, got 1',))

    def test_contexts_that_are_too_long(self):
        long = write_lines(self.folder / 'long.jsonl', [{'text': 'word ' * 400 + 'end'}])
        result = harness.fptq('eval', self.model, '--task', f'lambada_openai={long}')
        self.assertIn(b'1 contexts are longer than the 256 tokens that the model sees', result.stderr)
        self.assertEqual(1, self.tasks('--task', f'lambada_openai={long}')['lambada_openai']['cut'])

    def test_compare_scores_every_model(self):
        quantized = self.folder / 'quantized'
        self.succeed('quantize', self.model, '-o', quantized, '--recipe', 'rtn')
        path = self.folder / 'compared.jsonl'
        found = self.json_of('compare', self.model, quantized, '--task', f'arc_easy={self.arc}',
                             '--samples-out', path)
        self.assertEqual(40, found['baseline']['tasks']['arc_easy']['n'])
        self.assertEqual(40, found['candidates'][0]['tasks']['arc_easy']['n'])
        models = [json.loads(line)['model'] for line in path.read_text().splitlines()]
        self.assertEqual([str(self.model)] * 40 + [str(quantized)] * 40, models)

    def rejects(self, *arguments, code=3, says=()):
        self.fail_with(code, 'eval', self.model, *arguments, says=says)

    def test_tasks_that_it_does_not_know(self):
        self.rejects('--task', f'arc_eazy={self.arc}',
                     says=('task "arc_eazy": expected a .yaml file or one of arc_challenge, arc_easy',))
        self.rejects('--task', f'missing.yaml={self.arc}', says=('missing.yaml',))
        self.rejects('--task', f'arc_easy={self.arc}', '--task', f'arc_easy={self.arc}', code=2,
                     says=('expected every task once, got arc_easy twice',))
        self.rejects('--task', f'arc_easy={self.arc}', '--shots-from', f'piqa={self.arc}', code=2,
                     says=('--shots-from: expected the name of a task of --task, got piqa',))
        for flag in ('--shots', '--limit'):
            self.rejects('--task', f'arc_easy={self.arc}', flag, '-1', code=2, says=(flag,))
        self.rejects('--task', f'arc_easy={self.arc}', '--resume', code=2,
                     says=('--resume: expected --samples-out FILE',))

    def test_definitions_that_are_wrong(self):
        for change, says in (
                (('task: colors\n', ''), 'expected the key task, got none'),
                (('doc_to_target', 'doc_to_traget'), 'line 6, column 16: unknown key "doc_to_traget"'),
                (('metric: acc_norm', 'metric: f1'), 'expected acc, acc_norm or perplexity, got "f1"'),
                (('{{thing}}', '{{thing'), 'doc_to_text: not a usable template'),
                (('{{thing}}', '{{thin}}'), 'document 0: the template fails'),
                (('"blue"', '"blau"'), 'document 1: doc_to_target')):
            broken = self.folder / 'broken.yaml'
            self.assertIn(change[0], OWN_TASK)
            broken.write_text(OWN_TASK.replace(*change))
            if change[1] == '"blau"':
                self.things.with_name('other.csv').write_text('thing,color\nsky,blau\nsea,blue\n')
                self.rejects('--task', f'{broken}={self.folder / "other.csv"}', says=(says,))
                continue
            self.rejects('--task', f'{broken}={self.things}', says=(says,))

    def test_documents_that_are_wrong(self):
        for text, says in (
                ('', 'expected documents, got none'),
                ('{"text": "a b"}\n{"text"', 'bad.jsonl: line 2, column 8: expected JSON'),
                ('[1, 2]\n', 'expected an object, got array'),
                ('{"txt": "a b"}\n', 'The document has the fields txt')):
            bad = self.folder / 'bad.jsonl'
            bad.write_text(text)
            self.rejects('--task', f'lambada_openai={bad}', says=(says,))
        wrong = write_lines(self.folder / 'wrong.jsonl', [{**ARC[0], 'answerKey': 'E'}])
        self.rejects('--task', f'arc_easy={wrong}', says=("'E' is not in list",))
        few = write_lines(self.folder / 'few.jsonl', ARC[:1])
        self.rejects('--task', f'arc_easy={few}', '--shots', '1', code=2,
                     says=('expected at least 2 examples for 1 shots, got 1',))
        (self.folder / 'empty').mkdir()
        self.rejects('--task', f'mmlu={self.folder / "empty"}', says=('expected files test/*_test.csv',))
        self.rejects('--task', f'arc_easy={self.folder / "nowhere.jsonl"}', says=('nowhere.jsonl',))

    def test_a_model_without_a_tokenizer(self):
        mute = tiny.write_checkpoint(self.folder / 'mute')
        (mute / 'tokenizer.json').unlink()
        self.fail_with(3, 'eval', mute, '--task', f'arc_easy={self.arc}', says=('tokenizer',))


if __name__ == '__main__':
    unittest.main()
