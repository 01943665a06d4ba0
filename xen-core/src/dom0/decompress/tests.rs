//! Round trips through independent encoders, files of the real tools, and hostile input.
//!
//! `testdata/sample.*` hold [`sample`] as compressed by `gzip -9`, `xz --x86 --lzma2=preset=9e`
//! with `--check=crc32`, `xz --format=lzma -9` from a pipe, `lz4 -l -9` and `zstd -22 --ultra`.

extern crate std;

use std::io::Write;
use std::string::ToString;
use std::{vec, vec::Vec};

use flate2::write::GzEncoder;
use lzma_rust2::{CheckType, FilterType, LzmaOptions, LzmaWriter, XzOptions, XzWriter};
use proptest::prelude::*;

use super::*;

/// Bytes that look like x86 code full of calls and jumps, with every history the branch filter
/// distinguishes; repetitive enough to give matches of every kind.
fn sample(length: usize) -> Vec<u8> {
    const ALPHABET: [u8; 16] = [
        0xe8, 0xe9, 0xe8, 0x00, 0xff, 0x00, 0xff, 0x01, 0x0f, 0x48, 0x89, 0xe8, 0x00, 0xc3, 7, 0x55,
    ];
    let mut data = Vec::with_capacity(length + 64);
    let mut seed = 0x9e37_79b9_u32;
    while data.len() < length {
        seed ^= seed << 13;
        seed ^= seed >> 17;
        seed ^= seed << 5;
        if seed & 0x700 == 0 && data.len() > 600 {
            let from = data.len() - 1 - (seed >> 16) as usize % 590;
            for index in 0..(seed >> 11 & 31) as usize + 2 {
                data.push(data[from + index]);
            }
        } else {
            data.push(ALPHABET[(seed >> 12 & 15) as usize]);
        }
    }
    data.truncate(length);
    data
}

const SAMPLE: usize = 6000;

const FILES: [(Compression, &[u8]); 5] = [
    (Compression::Gzip, include_bytes!("testdata/sample.gz")),
    (Compression::Xz, include_bytes!("testdata/sample.xz")),
    (Compression::Lzma, include_bytes!("testdata/sample.lzma")),
    (Compression::Lz4, include_bytes!("testdata/sample.lz4")),
    (Compression::Zstd, include_bytes!("testdata/sample.zst")),
];

fn payload(compression: Compression, data: &[u8]) -> Payload<'_> {
    Payload {
        compression,
        data,
        stated_size: None,
    }
}

/// Decompresses into a buffer of exactly `size` bytes.
fn unpack(compression: Compression, data: &[u8], size: usize) -> Result<Vec<u8>, KernelError> {
    let mut out = vec![0xa5; size];
    let length = decompress(&payload(compression, data), &mut out)?;
    out.truncate(length);
    Ok(out)
}

/// `data` as lzop stores it: blocks of 256 KiB with Adler-32 sums of both sides.
fn lzop(data: &[u8]) -> Vec<u8> {
    let mut file = vec![0x89, b'L', b'Z', b'O', 0, 0x0d, 0x0a, 0x1a, 0x0a];
    file.extend([0x10, 0x40, 0x20, 0xa0, 0x09, 0x40, 1, 9]); // versions, method, level
    file.extend((ADLER32_OUT_AND_IN).to_be_bytes());
    file.extend([0; 4 + 8]); // mode, time
    file.extend([1, b'k']);
    file.extend([0; 4]); // header checksum
    for block in data.chunks(256 << 10) {
        let packed = lzokay::compress::compress(block).unwrap();
        let stored = if packed.len() < block.len() {
            &packed[..]
        } else {
            block
        };
        file.extend(u32::try_from(block.len()).unwrap().to_be_bytes());
        file.extend(u32::try_from(stored.len()).unwrap().to_be_bytes());
        file.extend(crc::adler32(block).to_be_bytes());
        if stored.len() < block.len() {
            file.extend(crc::adler32(stored).to_be_bytes());
        }
        file.extend(stored);
    }
    file.extend([0; 4]);
    file
}

const ADLER32_OUT_AND_IN: u32 = 3;

fn lz4_legacy(data: &[u8]) -> Vec<u8> {
    let mut file = 0x184c_2102u32.to_le_bytes().to_vec();
    for block in data.chunks(8 << 20) {
        let packed = lz4_flex::block::compress(block);
        file.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        file.extend(packed);
    }
    file
}

fn xz(data: &[u8], options: XzOptions) -> Vec<u8> {
    let mut writer = XzWriter::new(Vec::new(), options).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap()
}

fn assert_unpacks(compression: Compression, file: &[u8], expected: &[u8]) {
    let size = uncompressed_size(&payload(compression, file)).unwrap_or(expected.len());
    assert!(size >= expected.len(), "{compression}: size {size}");
    let unpacked = unpack(compression, file, size);
    assert!(
        unpacked.as_deref() == Ok(expected),
        "{compression}: {:?}",
        unpacked.err()
    );
}

#[test]
fn files_of_the_real_tools_unpack() {
    for (compression, file) in FILES {
        assert_unpacks(compression, file, &sample(SAMPLE));
    }
}

#[test]
fn stated_sizes_are_exact_where_the_format_states_them() {
    for (compression, file) in FILES {
        let size = uncompressed_size(&payload(compression, file));
        match compression {
            Compression::Lzma => assert!(size.is_err(), "a pipe's size is unknown"),
            Compression::Lz4 => assert!(size.unwrap() >= SAMPLE),
            _ => assert_eq!(size, Ok(SAMPLE), "{compression}"),
        }
    }
    assert_eq!(
        uncompressed_size(&payload(Compression::Lzo, &lzop(&sample(SAMPLE)))),
        Ok(SAMPLE)
    );
}

#[test]
fn a_bzimage_payload_must_have_its_stated_size() {
    for (compression, file) in FILES {
        let mut payload = payload(compression, file);
        payload.stated_size = Some(u32::try_from(SAMPLE).unwrap());
        assert_eq!(uncompressed_size(&payload), Ok(SAMPLE));
        let mut out = vec![0; SAMPLE + 9];
        assert_eq!(decompress(&payload, &mut out), Ok(SAMPLE), "{compression}");
        payload.stated_size = Some(u32::try_from(SAMPLE).unwrap() + 9);
        assert_eq!(
            decompress(&payload, &mut out),
            Err(KernelError::WrongLength {
                expected: SAMPLE + 9,
                found: SAMPLE
            })
        );
    }
}

#[test]
fn other_encoders_round_trip() {
    let data = sample(3 << 20);
    let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&data).unwrap();
    assert_unpacks(Compression::Gzip, &gzip.finish().unwrap(), &data);
    assert_unpacks(Compression::Lzo, &lzop(&data), &data);
    assert_unpacks(Compression::Lz4, &lz4_legacy(&data), &data);
    for level in [
        ruzstd::encoding::CompressionLevel::Fastest,
        ruzstd::encoding::CompressionLevel::Uncompressed,
    ] {
        let file = ruzstd::encoding::compress_to_vec(&data[..], level);
        let mut out = vec![0; data.len()];
        assert_eq!(
            decompress(&payload(Compression::Zstd, &file), &mut out),
            Ok(data.len())
        );
        assert!(out == data);
    }
}

#[test]
fn xz_round_trips_with_every_check_filter_and_block_layout() {
    let data = sample(700_000);
    for check in [CheckType::None, CheckType::Crc32, CheckType::Crc64] {
        for (filter, start) in [(false, 0), (true, 0), (true, 0x1000)] {
            for block in [None, std::num::NonZeroU64::new(100_000)] {
                let mut options = XzOptions::with_preset(2);
                options.set_check_sum_type(check);
                options.set_block_size(block);
                if filter {
                    options.prepend_pre_filter(FilterType::BcjX86, start);
                }
                assert_unpacks(Compression::Xz, &xz(&data, options), &data);
            }
        }
    }
}

#[test]
fn xz_stores_what_does_not_compress() {
    let mut seed = 1u64;
    let noise: Vec<u8> = core::iter::repeat_with(|| {
        seed = seed
            .wrapping_mul(0x5851_f42d_4c95_7f2d)
            .wrapping_add(0x1405_7b7e_f767_814f);
        seed.to_le_bytes()[7]
    })
    .take(300_000)
    .collect();
    let mut data = noise.clone();
    data.extend(sample(100_000));
    data.extend(noise);
    assert_unpacks(
        Compression::Xz,
        &xz(&data, XzOptions::with_preset(1)),
        &data,
    );
}

#[test]
fn lzma_round_trips_with_all_literal_properties() {
    let data = sample(200_000);
    for (lc, lp, pb) in [(3, 0, 2), (0, 4, 0), (4, 0, 4), (1, 2, 3), (0, 0, 0)] {
        let mut options = LzmaOptions::with_preset(4);
        (options.lc, options.lp, options.pb) = (lc, lp, pb);
        for size in [None, Some(data.len() as u64)] {
            let mut writer = LzmaWriter::new_use_header(Vec::new(), &options, size).unwrap();
            writer.write_all(&data).unwrap();
            assert_unpacks(Compression::Lzma, &writer.finish().unwrap(), &data);
        }
    }
}

#[test]
fn a_buffer_that_is_too_small_is_an_error() {
    for (compression, file) in FILES {
        let error = unpack(compression, file, SAMPLE - 1).unwrap_err();
        assert_eq!(error, KernelError::OutputTooLarge(compression));
        assert!(unpack(compression, file, 0).is_err());
    }
    let error = unpack(Compression::Lzo, &lzop(&sample(SAMPLE)), SAMPLE - 1).unwrap_err();
    assert_eq!(error, KernelError::OutputTooLarge(Compression::Lzo));
}

#[test]
fn every_truncation_is_an_error() {
    for (compression, file) in FILES {
        for length in 0..file.len() {
            let result = unpack(compression, &file[..length], SAMPLE);
            // An LZ4 legacy frame has no end mark: cut between blocks, it is a shorter file.
            assert!(
                result.is_err() || compression == Compression::Lz4 && length <= 4,
                "{compression} cut to {length} bytes"
            );
        }
    }
}

#[test]
fn refusals_are_one_clear_line() {
    assert_eq!(
        unpack(Compression::Bzip2, b"BZh9", 10)
            .unwrap_err()
            .to_string(),
        "dom0 kernel is compressed with bzip2, which is not supported"
    );
    let mut options = XzOptions::with_preset(0);
    options.set_check_sum_type(CheckType::Sha256);
    assert!(matches!(
        unpack(Compression::Xz, &xz(b"data", options), 4),
        Err(KernelError::CompressionOption(Compression::Xz, _))
    ));
    let mut options = XzOptions::with_preset(0);
    options.prepend_pre_filter(FilterType::Delta, 1);
    assert!(matches!(
        unpack(Compression::Xz, &xz(b"data", options), 4),
        Err(KernelError::CompressionOption(Compression::Xz, _))
    ));
    let twice = xz(FILES[0].1, XzOptions::with_preset(0));
    assert_eq!(
        unpack(Compression::Xz, &twice, 9000),
        Err(KernelError::StillCompressed)
    );
}

#[test]
fn a_zstd_block_may_reuse_the_codes_of_the_block_before() {
    // `zstd -19 --check` of a longer sample: its second block has treeless literals and repeats
    // the tables of literal and match lengths.
    let file = include_bytes!("testdata/long.zst");
    assert_unpacks(Compression::Zstd, file, &sample(145_000));
}

#[test]
fn zstd_blocks_of_one_byte_and_with_default_tables() {
    // `zstd` of 200000 zeros from a pipe: a compressed and a run-length block.
    let zeros = [
        0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x58, 0x54, 0x00, 0x00, 0x10, 0x00, 0x00, 0x01, 0x00, 0xfb,
        0xff, 0x39, 0xc0, 0x02, 0x03, 0x6a, 0x08, 0x00, 0xc4, 0xe9, 0x74, 0x70,
    ];
    assert_unpacks(Compression::Zstd, &zeros, &[0; 200_000]);
    // `zstd -19` of a line: its few sequences use the predefined distributions.
    let line = [
        0x28, 0xb5, 0x2f, 0xfd, 0x04, 0x68, 0xfd, 0x00, 0x00, 0xb2, 0xc1, 0x05, 0x0b, 0xe0, 0x2d,
        0x06, 0xe3, 0x36, 0x57, 0x78, 0x90, 0x07, 0x01, 0x16, 0x44, 0xe1, 0x85, 0xc2, 0x88, 0x9f,
        0x77, 0x69, 0x3b, 0xe2, 0x17, 0x01, 0x00, 0xce, 0x9b, 0x4c, 0x72, 0x51, 0x0b, 0xed,
    ];
    assert_unpacks(
        Compression::Zstd,
        &line,
        b"to be or not to be, to be or not to be at all",
    );
}

fn any_file() -> impl Strategy<Value = (Compression, Vec<u8>)> {
    prop_oneof![
        (0..FILES.len()).prop_map(|index| (FILES[index].0, FILES[index].1.to_vec())),
        Just((Compression::Lzo, lzop(&sample(SAMPLE)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(crate::sim::cases(1500)) })]

    #[test]
    fn corruption_never_panics_and_checksums_catch_it(
        (compression, mut file) in any_file(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        head in any::<bool>(),
    ) {
        for (index, flip) in changes {
            let range = if head { file.len().min(40) } else { file.len() };
            let index = index.index(range);
            file[index] ^= flip;
        }
        let _ = uncompressed_size(&payload(compression, &file));
        let result = unpack(compression, &file, SAMPLE + 100);
        // Formats without a checksum may decode to something else.
        if !matches!(compression, Compression::Lz4 | Compression::Lzma) {
            prop_assert!(result.is_err() || result == Ok(sample(SAMPLE)));
        }
    }

    #[test]
    fn noise_behind_any_magic_never_panics(noise in prop::collection::vec(any::<u8>(), 0..400)) {
        for (compression, file) in FILES {
            for keep in [6, 13, 24, 40] {
                let mut data = file[..keep].to_vec();
                data.extend(&noise);
                let _ = unpack(compression, &data, 5000);
            }
        }
    }

    #[test]
    fn random_data_round_trips_through_xz(
        noise in prop::collection::vec(prop_oneof![Just(0xe8u8), Just(0), Just(0xff), any::<u8>()], 0..3000),
    ) {
        // No format begins with this byte: noise that does would rightly be refused as compressed twice.
        let data = [&[0xe8], &noise[..]].concat();
        let mut options = XzOptions::with_preset(1);
        options.prepend_pre_filter(FilterType::BcjX86, 0);
        prop_assert_eq!(unpack(Compression::Xz, &xz(&data, options), data.len()), Ok(data));
    }
}
