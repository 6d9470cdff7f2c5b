"""fptq compare: one table, the same as JSON, and as a page."""
import csv
import hashlib
import html
import json
import math
import random
import shutil
import unittest

import harness
import tiny
from eval_test import KL_KEYS, RESOURCE_KEYS, TEXT

WORDS = ('red', 'green', 'blue', 'dog', 'cat', 'sun', 'moon', 'tree')


def write_questions(path, count):
    """Documents of arc_easy that no model can know the answers to."""
    draw = random.Random(5)
    with open(path, 'w') as file:
        for _ in range(count):
            choices = {'text': draw.sample(WORDS, 4), 'label': list('ABCD')}
            file.write(json.dumps({'question': f'What is {draw.choice(WORDS)}?',
                                   'choices': choices, 'answerKey': draw.choice('ABCD')}) + '\n')
    return path


def mcnemar_p(won, lost):
    """By whole numbers."""
    tail = sum(math.comb(won + lost, k) for k in range(min(won, lost) + 1))
    return min(1.0, 2 * tail / 2 ** (won + lost))


def holm(values):
    adjusted, largest = [0.0] * len(values), 0.0
    for rank, i in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        adjusted[i] = largest
    return adjusted


class Compare(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        cls.candidates = [cls.folder / recipe for recipe in ('rtn', 'int8')]
        for candidate in cls.candidates:
            harness.fptq('quantize', cls.model, '-o', candidate, '--recipe',
                         candidate.name).check_returncode()
        cls.text = cls.folder / 'text'
        cls.text.write_text(TEXT)

    def compare(self, *flags):
        return harness.fptq('compare', self.model, *self.candidates, '--ppl', self.text, *flags)

    def test_a_row_for_each_model(self):
        result = self.compare('--kl-text', self.text)
        self.assertEqual(0, result.returncode, result.stderr)
        table = result.stdout.decode()
        for scheme in ('bf16', 'w4g32-a8t', 'w8c-a8t'):
            self.assertIn(scheme, table)
        self.assertNotIn('\x1b', table)

    def test_json_has_the_baseline_and_every_candidate(self):
        found = self.json_of('compare', self.model, *self.candidates, '--ppl', self.text,
                             '--kl-text', self.text)
        self.assertEqual({'baseline', 'candidates', 'between'}, set(found))
        self.assertEqual([str(path) for path in self.candidates],
                         [candidate['model'] for candidate in found['candidates']])
        self.assertIsNone(found['baseline']['kl'])
        for candidate in found['candidates']:
            self.assertLessEqual(KL_KEYS, set(candidate['kl']))
            self.assertLessEqual(RESOURCE_KEYS, set(candidate['resources']))
            self.assertGreater(candidate['kl']['mean'], 0)
        rtn, int8 = found['candidates']
        self.assertLess(int8['kl']['mean'], rtn['kl']['mean'])
        self.assertLess(rtn['resources']['weights_bytes'], int8['resources']['weights_bytes'])
        between, = found['between']
        self.assertEqual([str(path) for path in self.candidates], [between['first'], between['second']])
        divergence = between['paired'][-1]
        self.assertEqual(('KL divergence', 'windows'), (divergence['measure'], divergence['unit']))
        self.assertAlmostEqual(int8['kl']['mean'] - rtn['kl']['mean'], divergence['difference'])

    def test_numbers_are_those_of_eval(self):
        found = self.json_of('compare', self.model, self.candidates[0], '--ppl', self.text)
        alone = self.json_of('eval', self.candidates[0], '--ppl', self.text)
        self.assertEqual(alone['ppl'], found['candidates'][0]['ppl'])

    def test_windows_that_a_divergence_shares_give_the_same_perplexity(self):
        for flags in (('--protocol', 'llamacpp', '--ctx', 64),
                      ('--protocol', 'llamacpp', '--ctx', 64, '--windows', 3),
                      ('--protocol', 'all', '--ctx', 64)):
            apart = self.json_of('compare', self.model, *self.candidates, '--ppl', self.text, *flags)
            samples = self.folder / 'shared.jsonl'
            shared = self.json_of('compare', self.model, *self.candidates, '--ppl', self.text, *flags,
                                  '--kl-text', self.text, '--samples-out', samples)
            alone = self.json_of('eval', self.candidates[0], '--ppl', self.text, *flags,
                                 '--kl', self.model)
            self.assertEqual(apart['baseline']['ppl'], shared['baseline']['ppl'])
            for before, after in zip(apart['candidates'], shared['candidates'], strict=True):
                self.assertEqual(before['ppl'], after['ppl'])
            self.assertEqual(alone['kl'], shared['candidates'][0]['kl'])
            self.assertEqual(alone['ppl'], shared['candidates'][0]['ppl'])
            lines = [json.loads(line) for line in samples.read_text().splitlines()]
            windows = [line for line in lines if line.get('protocol') == 'llamacpp']
            self.assertEqual(3 * shared['candidates'][0]['kl']['windows'], len(windows))
            self.assertFalse(samples.with_name('shared.jsonl.partial').exists())

    def test_a_perplexity_that_waits_for_a_divergence_needs_none(self):
        alone = self.json_of('eval', self.model, '--ppl', self.text, '--protocol', 'llamacpp')
        result = harness.fptq('compare', self.model, self.folder / 'absent', '--ppl', self.text,
                              '--protocol', 'llamacpp', '--kl-text', self.text)
        self.assertEqual(3, result.returncode)
        self.assertIn('absent', result.stderr.decode())
        self.assertIn(f'{alone["ppl"][0]["value"]:.2f}', result.stdout.decode())

    def test_differences_are_tested_on_the_same_documents(self):
        # Another model altogether, a quantized one, and the baseline itself.
        cfg = tiny.config()
        other = tiny.write_checkpoint(self.folder / 'other', cfg, tiny.random_tensors(cfg, seed=7))
        models = [other, self.candidates[0], self.model]
        samples = self.folder / 'samples.jsonl'
        task = write_questions(self.folder / 'questions.jsonl', 120)
        found = self.json_of('compare', self.model, *models, '--ppl', self.text, '--ctx', 64,
                             '--task', f'arc_easy={task}', '--samples-out', samples)
        paired = [{entry['measure']: entry for entry in candidate['paired']}
                  for candidate in found['candidates']]
        for entries in paired:
            self.assertEqual(['arc_easy acc', 'arc_easy acc_norm', 'gptq perplexity'],
                             list(entries))
        lines = [json.loads(line) for line in samples.read_text().splitlines()]
        windows = [line for line in lines if 'window' in line]
        self.assertEqual({str(path) for path in models}, {line['model'] for line in windows})
        lines = [line for line in lines if 'doc' in line]
        self.assertEqual(4 * 120, len(lines))
        groups = [lines[120 * i:120 * (i + 1)] for i in range(4)]  # the baseline's first
        for entries, group in zip(paired, groups[1:]):
            for metric in ('acc', 'acc_norm'):
                pairs = [(line['doc'], before[metric], line[metric])
                         for before, line in zip(groups[0], group)]
                won = [doc for doc, before, after in pairs if before < after]
                lost = [doc for doc, before, after in pairs if before > after]
                entry = entries['arc_easy ' + metric]
                self.assertEqual((won, lost), (entry['won_documents'], entry['lost_documents']))
                self.assertEqual((len(won), len(lost), 120),
                                 (entry['won'], entry['lost'], entry['n']))
                self.assertAlmostEqual((len(won) - len(lost)) / 120, entry['difference'])
                self.assertAlmostEqual(mcnemar_p(len(won), len(lost)), entry['p'])
                low, high = entry['ci95']
                self.assertTrue(low < entry['difference'] < high)
        self.assertGreater(paired[0]['arc_easy acc']['won'] + paired[0]['arc_easy acc']['lost'], 10)

        # Three candidates beside the baseline, and three pairs of them.
        entries = [entry for one in found['candidates'] + found['between'] for entry in one['paired']]
        self.assertEqual({18}, {entry['comparisons'] for entry in entries})
        for expected, entry in zip(holm([entry['p'] for entry in entries]), entries):
            self.assertAlmostEqual(expected, entry['p_holm'])
            self.assertEqual(entry['p_holm'] <= 0.05, entry['distinguishable'])

        # The ratio of perplexities, over as many windows as both have.
        before, after = (model['ppl'][0] for model in (found['baseline'], found['candidates'][0]))
        entry = paired[0]['gptq perplexity']
        self.assertEqual(before['windows'], entry['n'])
        self.assertAlmostEqual(math.log(after['value'] / before['value']), entry['difference'])
        self.assertEqual({'the same answer to every document (120 documents)',
                          f'the same in every window ({before["windows"]} windows)'},
                         {entry['sentence'] for entry in paired[2].values()})

    def test_sentences_stand_below_the_table(self):
        result = self.compare()
        self.assertEqual(0, result.returncode, result.stderr)
        for candidate in self.candidates:
            self.assertIn(f'{candidate}: gptq perplexity ', result.stdout.decode())
        # 4 windows of 256 tokens.
        self.assertIn('4 windows are too few to tell it from chance (at least 10)',
                      result.stdout.decode())

    def test_costs_of_all_models(self):
        found = self.json_of('compare', self.model, *self.candidates, '--bench', '--bench-rounds', 2,
                             '--bench-tokens', 4)
        for entry in (found['baseline'], *found['candidates']):
            self.assertEqual(2, len(entry['resources']['rounds']))
            self.assertGreater(entry['resources']['decode_tok_s'], 0)

    def test_a_candidate_that_cannot_be_measured_costs_no_results(self):
        result = harness.fptq('compare', self.model, self.candidates[0], self.folder / 'absent',
                              '--bench', '--bench-rounds', '1', '--bench-tokens', '2')
        self.assertEqual(3, result.returncode)
        self.assertIn('absent', result.stderr.decode())
        self.assertIn('w4g32-a8t', result.stdout.decode())

    def test_the_page_needs_nothing_else(self):
        page = self.folder / 'page.html'
        self.assertEqual(0, self.compare('--html', page).returncode)
        html = page.read_text()
        self.assertTrue(html.lower().startswith('<!doctype html>'))
        self.assertIn('w4g32-a8t', html)
        for foreign in ('<script', 'javascript:', '<link', '<img', '@import', 'src='):
            self.assertNotIn(foreign, html.lower())
        self.assertEqual([page], list(self.folder.glob('page*')))

    def test_the_page_has_every_section(self):
        page = self.folder / 'sections.html'
        result = self.compare('--kl-text', self.text, '--bench', '--bench-rounds', 1,
                              '--bench-tokens', 4, '--html', page)
        self.assertEqual(0, result.returncode, result.stderr)
        html = page.read_text()
        for section in ('quality', 'divergence', 'layers', 'cost', 'samples', 'receipt', 'repeat'):
            self.assertEqual(1, html.count(f'<h2 id="{section}">'), section)
        for text in ('rtn (w4g32-a8t) is ', 'Positions by their KL divergence',
                     'relative error of the weights by block and linear',
                     'Bytes on disk by kind of tensor', 'Time of each generated token'):
            self.assertIn(text, html)
        self.assertEqual(5 * 3, html.count('<article'))  # five texts by three models
        hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in
                  (self.text, self.model / 'config.json',
                   self.candidates[0] / 'fptq_manifest.json')]
        for fact in (f'fptq compare {self.model} ', f'--html {page}<', *hashes):
            self.assertIn(fact, html)

    def test_as_many_sample_texts_as_asked_for(self):
        page = self.folder / 'samples.html'
        for count in (0, 2):
            self.assertEqual(0, self.compare('--html', page, '--samples', count).returncode)
            self.assertEqual(count * 3, page.read_text().count('<article'))
        self.fail_with(2, 'compare', self.model, self.candidates[0], '--samples', '-1',
                       says='--samples')

    def test_sample_texts_need_no_text(self):
        page = self.folder / 'neutral.html'
        self.succeed('compare', self.model, self.model, '--html', page, '--samples', 3)
        html = page.read_text()
        self.assertIn('Once upon a time', html)
        self.assertEqual(3, html.count('The same as the baseline: '))
        self.assertNotIn('<mark>', html)

    def test_markdown_has_summary_table_and_provenance(self):
        file = self.folder / 'report.md'
        result = self.compare('--kl-text', self.text, '--markdown', file)
        self.assertEqual(0, result.returncode, result.stderr)
        text = file.read_text()
        self.assertTrue(text.startswith('# model and models made from it\n'))
        for candidate, scheme in (('rtn', 'w4g32-a8t'), ('int8', 'w8c-a8t')):
            self.assertIn(f'\n- {candidate} ({scheme}) is ', text)
        rows = [line for line in text.splitlines() if line.startswith('| ')]
        self.assertEqual(4, len([row for row in rows if row.count('|') == rows[0].count('|')]))
        self.assertIn(hashlib.sha256(self.text.read_bytes()).hexdigest(), text)
        self.assertIn('most probable tokens agree', result.stdout.decode())

    def test_csv_has_the_numbers_of_the_json(self):
        file = self.folder / 'report.csv'
        found = self.json_of('compare', self.model, *self.candidates, '--ppl', self.text,
                             '--kl-text', self.text, '--csv', file)
        with file.open(newline='') as lines:
            rows = list(csv.DictReader(lines))
        self.assertEqual([str(self.model), *map(str, self.candidates)],
                         [row['model'] for row in rows])
        context = found['baseline']['ppl'][0]['ctx']
        for row, entry in zip(rows, (found['baseline'], *found['candidates']), strict=True):
            self.assertEqual(entry['ppl'][0]['value'], float(row[f'ppl_gptq_ctx{context}']))
            self.assertEqual(entry['resources']['disk_bytes'], int(row['disk_bytes']))
            self.assertNotIn('decode_tok_s', row)
        self.assertEqual('', rows[0]['kl_mean'])
        self.assertEqual(found['candidates'][0]['kl']['mean'], float(rows[1]['kl_mean']))

    def test_reports_tell_candidates_apart(self):
        files = [self.folder / name for name in ('pairs.csv', 'pairs.md', 'pairs.html')]
        found = self.json_of('compare', self.model, *self.candidates, '--kl-text', self.text, '--ctx', 32,
                             '--csv', files[0], '--markdown', files[1], '--html', files[2], '--samples', 0)
        verdict = found['between'][0]['paired'][-1]
        with files[0].open(newline='') as lines:
            rows = list(csv.DictReader(lines))
        column = f'KL divergence difference beside {self.candidates[0]}'
        self.assertEqual(['', ''], [row[column] for row in rows[:2]])
        self.assertEqual(verdict['difference'], float(rows[2][column]))
        self.assertIn('## Differences between candidates', files[1].read_text())
        for file in files[1:]:
            self.assertIn(verdict['sentence'], html.unescape(file.read_text()))

    def test_reports_that_cannot_be_written_are_named(self):
        for flag in ('--markdown', '--csv'):
            result = self.compare(flag, self.text / 'report')
            self.assertEqual(3, result.returncode)
            self.assertIn(str(self.text / 'report'), result.stderr.decode())
            self.assertIn('w8c-a8t', result.stdout.decode())

    def test_a_manifest_that_is_no_json_costs_no_results(self):
        broken = self.folder / 'broken'
        shutil.copytree(self.candidates[0], broken)
        (broken / 'fptq_manifest.json').write_text('{')
        page = self.folder / 'broken.html'
        result = harness.fptq('compare', self.model, broken, '--html', page, '--samples', '0')
        self.assertEqual(3, result.returncode, result.stderr)
        self.assertIn('fptq_manifest.json', result.stderr.decode())
        self.assertIn('w4g32-a8t', result.stdout.decode())
        self.assertIn('without errors by layer: ', page.read_text())

    def test_sample_texts_of_another_tokenizer_cost_no_results(self):
        other = self.folder / 'retokenized'
        shutil.copytree(self.model, other)
        tokenizer = json.loads((other / 'tokenizer.json').read_text())
        tokenizer['post_processor'] = None  # no BOS
        (other / 'tokenizer.json').write_text(json.dumps(tokenizer))
        page = self.folder / 'other.html'
        result = harness.fptq('compare', self.model, other, '--html', page, '--samples', '1')
        self.assertEqual(3, result.returncode, result.stderr)
        self.assertIn(f'{other}: sample texts: expected the tokens that the baseline makes',
                      result.stderr.decode())
        self.assertIn('without sample texts: ', page.read_text())

    def test_a_page_that_cannot_be_written_costs_no_results(self):
        result = self.compare('--html', self.text / 'page.html')
        self.assertEqual(3, result.returncode)
        self.assertIn('page.html', result.stderr.decode())
        self.assertIn('w8c-a8t', result.stdout.decode())

    def test_a_candidate_that_fails_require_costs_no_results(self):
        report, page = self.folder / 'required.json', self.folder / 'required.html'
        for scheme in ('w4g32-a8t', 'w8c-a8t'):  # fails the second, fails the first
            result = self.compare('--require', scheme, '--json', report, '--html', page)
            self.assertEqual(1, result.returncode)
            self.assertIn(f'--require {scheme}: ', result.stderr.decode())
            self.assertIn(scheme, result.stdout.decode())
            self.assertEqual([scheme], [candidate['scheme'] for candidate
                                        in json.loads(report.read_text())['candidates']])
            self.assertIn(scheme, page.read_text())
            report.unlink()
            page.unlink()

    def test_every_candidate_above_the_budget_is_named(self):
        result = self.compare('--kl-budget', '0')
        self.assertEqual(1, result.returncode)
        for candidate in self.candidates:
            self.assertIn(f'{candidate} has a mean KL divergence', result.stderr.decode())
        self.assertIn('w8c-a8t', result.stdout.decode())

    def test_a_candidate_that_is_not_there_costs_no_results(self):
        report = self.folder / 'absent.json'
        result = harness.fptq('compare', self.model, self.candidates[0], self.folder / 'absent',
                              '--ppl', self.text, '--json', report)
        self.assertEqual(3, result.returncode)
        self.assertIn('absent', result.stderr.decode())
        self.assertIn('w4g32-a8t', result.stdout.decode())
        self.assertFalse(report.exists())

    def test_a_baseline_that_is_not_there(self):
        self.fail_with(3, 'compare', self.folder / 'absent', self.model, says='absent')


if __name__ == '__main__':
    unittest.main()
