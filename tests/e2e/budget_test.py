"""fptq quantize --target-bpw: mixed precision to a budget, from the command line to the disk."""
import json
import random
import unittest

import harness
import tiny


class Budget(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        rng = random.Random(5)
        cls.text = cls.folder / 'text.txt'
        cls.text.write_text(' '.join(''.join(rng.choices('abcdefghijklmnop', k=rng.randint(1, 7)))
                                     for _ in range(1500)))

    def quantize(self, name, *flags, recipe='rtn', target='5'):
        return self.succeed('quantize', self.model, '-o', self.folder / name, '--recipe', recipe,
                            '--calib', self.text, '--samples', 8, '--seqlen', 48, '--target-bpw',
                            target, *flags)

    def manifest(self, name):
        return json.loads((self.folder / name / 'fptq_manifest.json').read_text())

    def test_the_output_keeps_to_the_budget_and_says_what_was_chosen(self):
        for recipe in ('rtn', 'fptq'):
            self.quantize(recipe, recipe=recipe)
            manifest = self.manifest(recipe)
            self.assertLessEqual(manifest['linear_bits_per_weight'], 5)
            self.assertGreater(manifest['linear_bits_per_weight'], 4.6)
            precision = manifest['precision']
            self.assertEqual(14, len(precision['linears']))
            self.assertEqual(5, precision['target_bpw'])
            for linear in precision['linears']:
                schemes = [candidate['scheme'] for candidate in linear['candidates']]
                self.assertIn(linear['choice'], schemes)
                self.assertEqual('w4g32-asym-a8t', schemes[0])
                self.assertIsNotNone(linear['candidates'][0]['kl_measured'])

    def test_the_output_loads_and_inspect_shows_the_bits(self):
        self.quantize('mixed')
        inspected = self.json_of('inspect', self.folder / 'mixed')
        self.assertAlmostEqual(self.manifest('mixed')['linear_bits_per_weight'],
                               inspected['linear_bits_per_weight'], places=9)
        result = self.json_of('eval', self.folder / 'mixed', '--ppl', self.text, '--protocol',
                              'llamacpp', '--ctx', 64)
        self.assertEqual('mixed', result['scheme'])
        self.assertGreater(result['ppl'][0]['value'], 1)

    def test_the_recipe_that_was_written_gives_the_same_again(self):
        self.quantize('first')
        recipe = self.folder / 'first' / 'recipe.yaml'
        self.assertIn('target_bpw: 5\n', recipe.read_text())
        self.succeed('quantize', self.model, '-o', self.folder / 'again', '--recipe', recipe,
                     '--threads', 3)
        for name in ('model.safetensors', 'config.json', 'recipe.yaml'):
            self.assertEqual((self.folder / 'first' / name).read_bytes(),
                             (self.folder / 'again' / name).read_bytes(), name)
        self.assertEqual(self.manifest('first')['precision'], self.manifest('again')['precision'])

    def test_massive_inputs_stay_in_floating_point_where_asked_to(self):
        for name, flags in (('warned', []), ('guarded', ['--massive-inputs', 'a16'])):
            self.quantize(name, *flags)
            precision = self.manifest(name)['precision']
            massive = set(precision['massive_inputs']['linears'])
            self.assertEqual('a16' if flags else 'a8', precision['massive_inputs']['activations'])
            costs = sorted(linear['activations_kl'] for linear in precision['linears'])
            bound = 10 * costs[len(costs) // 2]
            self.assertEqual(massive, {linear['module'] for linear in precision['linears']
                                       if linear['activations_kl'] > bound > 0})
            inspected = {tensor['name'].removesuffix('.weight'): tensor['scheme']
                         for tensor in self.json_of('inspect', self.folder / name)['tensors']}
            in_float = {linear['module'] for linear in precision['linears']
                        if not inspected[linear['module']].endswith('-a8t')}
            self.assertEqual(massive if flags else set(), in_float)
            self.assertTrue(massive, 'this model has none: the test shows nothing')
        self.assertIn('massive_inputs: a16', (self.folder / 'guarded' / 'recipe.yaml').read_text())
        self.fail_with(2, 'quantize', self.model, '-o', self.folder / 'out', '--massive-inputs', 'a4',
                       says='--massive-inputs: massive_inputs "a4": expected a8 or a16')

    def test_a_target_out_of_reach_is_refused_with_both_ends(self):
        self.fail_with(2, 'quantize', self.model, '-o', self.folder / 'out', '--recipe', 'rtn',
                       '--target-bpw', '3',
                       says=['target_bpw 3: expected 4.', ' to 8.', 'bits per weight'])
        self.assertFalse((self.folder / 'out').exists())


if __name__ == '__main__':
    unittest.main()
