"""Wrong usage is exit code 2, says what is accepted, and prints nothing to stdout."""
import unittest

import harness

COMMANDS = ['bench', 'compare', 'convert', 'eval', 'inspect', 'logits', 'quantize', 'run', 'tokenize']


class Usage(harness.ProgramTest):

    def test_help_lists_every_command_and_goes_to_stdout(self):
        text = self.succeed('--help')
        for command in COMMANDS:
            self.assertRegex(text, rf'(?m)^  {command} ')

    def test_every_command_has_help(self):
        for command in COMMANDS:
            self.assertIn('--json', self.succeed(command, '--help'))

    def test_version_is_one_line(self):
        self.assertRegex(self.succeed('--version'), r'^fptq \d+\.\d+\.\d+\n$')

    def test_no_command(self):
        self.fail_with(2, says='`fptq --help`')

    def test_unknown_command(self):
        self.fail_with(2, 'frobnicate', says='frobnicate')

    def test_commands_that_are_not_offered_are_unknown(self):
        for command in ['chat', 'serve', 'doctor']:
            self.fail_with(2, command, 'x')

    def test_unknown_flag_names_the_help_of_its_command(self):
        self.fail_with(2, 'tokenize', 'x', '--frob', says=['--frob', '`fptq tokenize --help`'])

    def test_missing_model(self):
        for command in COMMANDS:
            if command not in ('bench', 'eval', 'quantize'):  # which can do without
                self.fail_with(2, command, says='required')

    def test_wrong_values_say_what_is_accepted(self):
        self.fail_with(2, 'inspect', 'x', '--threads', '0', says=['--threads', '1', '1024'])
        self.fail_with(2, 'inspect', 'x', '--threads', 'many', says='--threads')
        self.fail_with(2, 'inspect', 'x', '--isa', 'mmx', says=['--isa', 'avx512vnni', 'scalar'])
        self.fail_with(2, 'logits', 'x', '--ids', '1', '-o', 'y', '--kv', 'int3',
                       says=['--kv', 'bf16'])
        self.fail_with(2, 'inspect', 'x', '--ram-limit', 'much', says='1.5GiB')

    def test_environment_is_checked_like_flags(self):
        environment = harness.clean_environment(FPTQ_THREADS='0')
        self.fail_with(2, 'inspect', 'x', env=environment, says='threads')
        environment = harness.clean_environment(FPTQ_ISA='mmx')
        self.fail_with(2, 'inspect', 'x', env=environment, says='avx512vnni')


if __name__ == '__main__':
    unittest.main()
