"""fptq quantize with equalization, rotation and the paper's policy."""
import json
import pathlib
import random
import unittest

import harness
import tiny


def bytes_of(folder):
    """Name -> contents; of the manifest what does not change from run to run."""
    contents = {path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()}
    manifest = json.loads(contents['fptq_manifest.json'])
    del manifest['run']
    contents['fptq_manifest.json'] = json.dumps(manifest)
    return contents


class Transform(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')
        rng = random.Random(5)
        cls.text = cls.folder / 'text.txt'
        cls.text.write_text(' '.join(''.join(rng.choices('abcdefghijklmnop', k=rng.randint(1, 7)))
                                     for _ in range(3000)))

    def quantize(self, name, *flags):
        output = self.folder / name
        self.succeed('quantize', self.model, '-o', output, '--calib', self.text, '--samples', '8',
                     '--seqlen', '48', *flags)
        return output

    def paper(self, name, *flags):
        recipe = self.folder / f'{name}.yaml'
        text = self.succeed('quantize', '--recipe', 'fptq-paper', '--print-recipe')
        self.assertIn('activation_policy: 15,150\n', text)
        self.assertIn('equalize: lae\n', text)
        # The tiny model's inputs are narrower than a real one's.
        recipe.write_text(text.replace('15,150', '2,6'))
        return self.quantize(name, '--recipe', recipe, *flags)

    def test_the_papers_recipe_chooses_activations_and_the_output_runs(self):
        output = self.paper('paper')
        manifest = json.loads((output / 'fptq_manifest.json').read_text())
        became = {linear: entry['activations'] for entry in manifest['inputs']
                  for linear in entry['linears']}
        self.assertGreater(len(set(became.values())), 1, became)
        found = self.json_of('inspect', output)
        schemes = {tensor['name']: tensor for tensor in found['tensors']}
        for linear, choice in became.items():
            tensor = schemes[linear + '.weight']
            expected = 'w4g128-a8t' if choice == 'dynamic' else 'w4g128-a8s'
            self.assertEqual(expected, tensor['scheme'])
            self.assertEqual(choice, tensor['input']['activations'])
            self.assertIn(tensor['input']['policy'], ('static', 'lae-static', 'dynamic'))
            self.assertGreater(tensor['input']['absmax'], 0)
        self.assertEqual('w8c-a8t', schemes['lm_head.weight']['scheme'])
        self.assertNotIn('input', schemes['lm_head.weight'])
        table = self.succeed('inspect', output)
        self.assertIn('inputs over the calibration set', table)
        self.assertIn('lae-static', table)
        self.succeed('run', output, '-p', 'abc', '-n', '3')
        self.succeed('eval', output, '--ppl', self.text, '--protocol', 'gptq', '--ctx', '32')

    def test_the_papers_recipe_is_what_it_prints(self):
        first = self.quantize('named', '--recipe', 'fptq-paper')
        again = self.quantize('again', '--recipe', first / 'recipe.yaml')
        self.assertEqual(bytes_of(first), bytes_of(again))

    def test_threads_do_not_change_the_bytes(self):
        for flags in (['--equalize', 'awq'], ['--rotate', 'hadamard', '--rounding', 'gptq'],
                      ['--rotate', 'hadamard', '--equalize', 'lae', '--activations', 'a8s']):
            with self.subTest(flags=flags):
                one = self.quantize('one', *flags, '--overwrite', '-t', '1')
                three = self.quantize('three', *flags, '--overwrite', '-t', '3')
                self.assertEqual(bytes_of(one), bytes_of(three))

    def test_every_transformation_computes_nearly_the_same(self):
        def logits(model):
            file = self.folder / 'logits.npy'
            self.succeed('logits', model, '--ids', '1,2,3,4,5,6,7,8,9,10', '-o', file)
            return harness.read_npy(file)

        def distance(model):
            return sum((a - b) ** 2 for a, b in zip(original[-1], logits(model)[-1]))

        original = logits(self.model)
        plain = distance(self.quantize('plain'))
        for flags in (['--equalize', 'lae'], ['--equalize', 'smoothquant'], ['--equalize', 'awq'],
                      ['--rotate', 'hadamard'], ['--rotate-down', 'hadamard']):
            with self.subTest(flags=flags):
                output = self.quantize('-'.join(flags), *flags)
                self.assertLess(distance(output), 3 * plain)

    def test_rotation_needs_no_text_and_unties_the_classifier(self):
        tied = tiny.write_checkpoint(self.folder / 'tied',
                                     tiny.config(tie_word_embeddings=True))
        output = self.folder / 'untied'
        self.succeed('quantize', tied, '-o', output, '--rotate', 'hadamard', '--embed', 'keep',
                     '--head', 'keep')
        config = json.loads((output / 'config.json').read_text())
        self.assertFalse(config['tie_word_embeddings'])
        names = {tensor['name'] for tensor in self.json_of('inspect', output)['tensors']}
        self.assertIn('lm_head.weight', names)
        self.succeed('run', output, '-p', 'abc', '-n', '3')

    def test_inputs_that_are_rotated_while_the_model_runs(self):
        output = self.quantize('online', '--rotate-down', 'hadamard', '--rounding', 'gptq')
        config = json.loads((output / 'config.json').read_text())
        group, = config['quantization_config']['transform_config']['config_groups'].values()
        self.assertEqual(('hadamard', 'input'), (group['type'], group['apply'][0]['location']))
        self.assertIn('rotate_down: hadamard', (output / 'recipe.yaml').read_text())
        manifest = json.loads((output / 'fptq_manifest.json').read_text())
        self.assertEqual(group['head_dim'], manifest['down_rotation']['block'])
        self.assertIn('rotated while the model runs', ' '.join(manifest['warnings']))
        block = group['head_dim']
        rotated = {tensor['name'] for tensor in self.json_of('inspect', output)['tensors']
                   if tensor.get('input_rotation') == {'kind': 'hadamard', 'block': block}}
        self.assertEqual({f'model.layers.{layer}.mlp.down_proj.weight' for layer in (0, 1)}, rotated)
        self.assertIn(f'inputs of 2 down_proj are rotated while the model runs: Hadamard, blocks of {block}',
                      self.succeed('inspect', output))
        self.succeed('run', output, '-p', 'abc', '-n', '3')
        self.succeed('verify', output, '--base', self.model)
        dense = self.folder / 'dense'
        self.succeed('convert', output, '-o', dense, '--to', 'dense')
        self.assertNotIn('quantization_config', json.loads((dense / 'config.json').read_text()))

    def test_a_rotation_that_is_measured_first(self):
        one = self.quantize('one-thread', '--rotate-down', 'auto', '-t', '1')
        three = self.quantize('three-threads', '--rotate-down', 'auto', '-t', '3')
        self.assertEqual(bytes_of(one), bytes_of(three))
        found = json.loads((one / 'fptq_manifest.json').read_text())['down_rotation']
        lower = found['choice']['kl_rotated'] < found['choice']['kl_plain']
        self.assertEqual('hadamard' if lower else 'none', found['kind'])
        self.assertIn('rotate_down: auto', (one / 'recipe.yaml').read_text())
        self.succeed('verify', one, '--base', self.model)

    def test_a_rotation_of_a_kind_that_is_not_known_is_no_silent_difference(self):
        output = self.quantize('unknown', '--rotate-down', 'hadamard')
        config = json.loads((output / 'config.json').read_text())
        group, = config['quantization_config']['transform_config']['config_groups'].values()
        group['type'] = 'random-hadamard'
        (output / 'config.json').write_text(json.dumps(config))
        says = ('transform_config: R4: type: expected "hadamard", got "random-hadamard"')
        self.fail_with(3, 'run', output, '-p', 'abc', '-n', '3', says=says)
        self.fail_with(3, 'inspect', output, says=says)

    def test_wrong_values(self):
        self.fail_with(2, 'quantize', self.model, '-o', self.folder / 'never', '--rotate-down', 'up',
                       says='--rotate-down: rotate_down "up": expected none, hadamard or auto')
        self.fail_with(2, 'quantize', self.model, '-o', self.folder / 'never', '--rotate', 'left',
                       says='--rotate: rotate "left": expected none or hadamard')


if __name__ == '__main__':
    unittest.main()
