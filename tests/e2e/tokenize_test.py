"""fptq tokenize."""
import json
import unittest

import harness
import tiny


class Tokenize(harness.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny.write_checkpoint(cls.folder / 'model')

    def tokenize(self, text, *flags):
        lines = self.succeed('tokenize', self.model, *flags, stdin=text).splitlines()
        return [json.loads(line) for line in lines]

    def test_a_line_in_is_a_line_of_ids_out(self):
        self.assertEqual([{'ids': tiny.ids_of('ab')}, {'ids': [tiny.BOS]},
                          {'ids': tiny.ids_of(' \u00e9 ')}], self.tokenize('ab\n\n \u00e9 \n'))

    def test_the_last_line_needs_no_newline_and_no_input_is_no_output(self):
        self.assertEqual([{'ids': tiny.ids_of('x')}], self.tokenize('x'))
        self.assertEqual([], self.tokenize(''))

    def test_no_special_leaves_out_bos(self):
        self.assertEqual([{'ids': tiny.ids_of('ab')[1:]}], self.tokenize('ab\n', '--no-special'))

    def test_jsonl_takes_texts_with_newlines(self):
        self.assertEqual([{'ids': tiny.ids_of('a\nb')}], self.tokenize('"a\\nb"\n', '--jsonl'))

    def test_decode_takes_both_forms_and_round_trips(self):
        ids = tiny.ids_of('h\u00e9llo')
        self.assertEqual([{'text': '<s>h\u00e9llo'}, {'text': '<s>h\u00e9llo'}],
                         self.tokenize(f'{ids}\n{json.dumps({"ids": ids})}\n', '--decode'))
        self.assertEqual([{'text': 'h\u00e9llo'}],
                         self.tokenize(f'{ids}\n', '--decode', '--no-special'))

    def test_a_tokenizer_without_a_model_is_enough(self):
        (self.folder / 'alone').mkdir()
        file = self.folder / 'alone' / 'tokenizer.json'
        file.write_text(json.dumps(tiny.tokenizer()))
        for model in (file, file.parent):
            self.assertEqual({'ids': tiny.ids_of('a')},
                             json.loads(self.succeed('tokenize', model, stdin='a\n')))

    def test_bad_lines_are_named(self):
        def fails(stdin, *flags, says):
            result = harness.fptq('tokenize', self.model, *flags, stdin=stdin)
            self.assertEqual(3, result.returncode)
            for part in says:
                self.assertIn(part, result.stderr.decode())
        fails('[1]\n{"id":[1]}\n', '--decode', says=['line 2', '{"ids": [1, 2]}'])
        fails('[1, 1.5]\n', '--decode', says=['line 1', '1.5'])
        fails('[-1]\n', '--decode', says=['line 1', '-1'])
        fails('"a\n', '--jsonl', says=['line 1'])
        fails('[1]\n', '--jsonl', says=['line 1', 'a JSON string'])

    def test_text_that_is_not_utf8_is_named(self):
        import subprocess
        result = subprocess.run([harness.PROGRAM, 'tokenize', self.model], input=b'ab\xff\n',
                                capture_output=True)
        self.assertEqual(3, result.returncode)
        self.assertIn('line 1', result.stderr.decode())

    def test_a_model_that_is_not_there(self):
        self.fail_with(3, 'tokenize', self.folder / 'absent', says='absent')


if __name__ == '__main__':
    unittest.main()
