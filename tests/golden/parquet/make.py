"""Writes the Parquet files of this folder: our own rows, as pyarrow and its codecs write them.

Run by hand in an environment with pyarrow (the files were written by version 26.0.1):
    python3 make.py
Rows and what fptq has to make of them are in src/text/parquet_test.cpp.
"""
import datetime
import decimal
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent


def questions(count):
    """Rows with a struct of lists, as data sets of multiple-choice questions have them."""
    choices = pa.struct([('text', pa.list_(pa.string())), ('label', pa.list_(pa.string()))])
    return pa.table({
        'id': pa.array([f'q{i}' for i in range(count)]),
        'question': pa.array([f'How many are {i} and {i}? \u00bd "a"\n' for i in range(count)]),
        'choices': pa.array([{'text': [str(i + k) for k in range(i % 4)],
                              'label': list('ABCD')[:i % 4]} for i in range(count)], choices),
        'answer': pa.array([i % 3 if i % 5 else None for i in range(count)], pa.int64()),
    })


def every_type():
    """A row of values and a row of nulls."""
    day = datetime.date(2024, 2, 29)
    moment = datetime.datetime(2024, 2, 29, 12, 0, 0, 250000)
    columns = {
        'bool': (True, pa.bool_()),
        'int8': (-8, pa.int8()),
        'uint8': (200, pa.uint8()),
        'uint32': (4000000000, pa.uint32()),
        'uint64': (18446744073709551615, pa.uint64()),
        'int64': (-9007199254740993, pa.int64()),
        'half': (1.5, pa.float16()),
        'float': (0.1, pa.float32()),
        'double': (0.1, pa.float64()),
        'nan': (float('nan'), pa.float64()),
        'decimal': (decimal.Decimal('-123.45'), pa.decimal128(10, 2)),
        'date': (day, pa.date32()),
        'millis': (moment, pa.timestamp('ms')),
        'nanos': (moment, pa.timestamp('ns')),
        'text': ('tab\there', pa.string()),
        'lists': ([[1, None], [], None], pa.list_(pa.list_(pa.int32()))),
        'map': ([('a', 1), ('b', None)], pa.map_(pa.string(), pa.int32())),
        'deep': ({'a': {'b': [{'c': 'x'}, {'c': None}]}},
                 pa.struct([('a', pa.struct([('b', pa.list_(pa.struct([('c', pa.string())])))]))])),
    }
    return pa.table({name: pa.array([value, None], kind)
                     for name, (value, kind) in columns.items()})


def edges():
    """Values before 1970, below one, beyond 64 bits."""
    return pa.table({
        'date': pa.array([datetime.date(1, 1, 1), datetime.date(1969, 12, 31)], pa.date32()),
        'micros': pa.array([-1, 0], pa.timestamp('us')),
        'small': pa.array([decimal.Decimal('-0.05'), decimal.Decimal('0.07')], pa.decimal128(4, 2)),
        'large': pa.array([decimal.Decimal(10 ** 30), decimal.Decimal(-10 ** 30)],
                          pa.decimal128(38, 0)),
        'half': pa.array([-2.0, 2.0 ** -24], pa.float16()),
    })


def main():
    for codec in ['none', 'snappy', 'gzip', 'brotli', 'zstd', 'lz4']:
        pq.write_table(questions(25), HERE / f'{codec}.parquet', compression=codec,
                       row_group_size=10)
    # The second version of data pages, small ones, strings with their lengths in front.
    pq.write_table(questions(200), HERE / 'v2.parquet', compression='zstd', data_page_version='2.0',
                   data_page_size=256, use_dictionary=False, write_batch_size=16,
                   column_encoding={'id': 'DELTA_LENGTH_BYTE_ARRAY', 'question': 'PLAIN',
                                    'choices.text.list.element': 'DELTA_LENGTH_BYTE_ARRAY',
                                    'choices.label.list.element': 'PLAIN',
                                    'answer': 'DELTA_BINARY_PACKED'})
    pq.write_table(every_type(), HERE / 'types.parquet', compression='none')
    pq.write_table(edges(), HERE / 'edges.parquet', compression='none')
    pq.write_table(pa.table({'image': pa.array([b'\xff\xd8'], pa.binary())}),
                   HERE / 'binary.parquet', compression='none')


if __name__ == '__main__':
    main()
