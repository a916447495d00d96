use super::*;

fn units(depacketizer: &mut Depacketizer) -> Vec<AccessUnit> {
    std::iter::from_fn(|| depacketizer.poll()).collect()
}

/// Packets of a timestamp, a marker and a payload each, in a row from sequence number 65,534 on; `None` is one that is lost.
fn feed(format: Format, packets: &[Option<(u32, bool, &[u8])>]) -> (Vec<AccessUnit>, u64) {
    let mut depacketizer = Depacketizer::new(format);
    for (n, packet) in packets.iter().enumerate() {
        if let Some((timestamp, marker, payload)) = packet {
            depacketizer.handle(65_534u16.wrapping_add(n as u16), *timestamp, *marker, payload);
        }
    }
    depacketizer.end();
    (units(&mut depacketizer), depacketizer.lost())
}

fn pieces(units: &[AccessUnit]) -> Vec<(u32, bool, bool, Vec<&[u8]>)> {
    let told = units.iter().map(|unit| {
        let pieces = unit.pieces.iter().map(|piece| &piece[..]).collect();
        (unit.timestamp, unit.is_key, unit.follows_loss, pieces)
    });
    told.collect()
}

mod h264 {
    use super::*;

    const SPS: &[u8] = &[0x67, 1, 2];
    const PPS: &[u8] = &[0x68, 3];
    /// Slices whose first macroblock is the picture's first.
    const IDR: &[u8] = &[0x65, 0x88, 7, 8, 9];
    const SLICE: &[u8] = &[0x41, 0x9a, 5];
    const SECOND: &[u8] = &[0x41, 0x40, 6];

    #[test]
    fn single_units_and_aggregates_are_taken_apart() {
        // RFC 6184 §5.7.1, figure 7.
        let stap_a = [&[0x78, 0, 3][..], SPS, &[0, 2], PPS].concat();
        let stap_b = [&[0x79, 0, 1, 0, 3][..], SPS, &[0, 2], PPS].concat();
        for stap in [stap_a, stap_b] {
            let (units, lost) = feed(
                Format::H264,
                &[
                    Some((10, false, &stap)),
                    Some((10, true, IDR)),
                    Some((20, true, SLICE)),
                ],
            );
            assert_eq!(
                pieces(&units),
                [
                    (10, true, false, vec![SPS, PPS, IDR]),
                    (20, false, false, vec![SLICE])
                ]
            );
            assert_eq!(lost, 0);
        }
    }

    // ITU-T H.264 §D.2.8: who refreshes pictures little by little sends no IDR picture.
    #[test]
    fn a_recovery_point_is_where_decoding_may_begin() {
        const RECOVERY: &[u8] = &[0x06, 6, 2, 0x1a, 0x40, 0x80];
        // Behind user data with an octet that keeps a start code from appearing.
        const BEHIND: &[u8] = &[0x06, 5, 4, 0, 0, 3, 1, 2, 6, 1, 0xc4, 0x80];
        const USER_DATA: &[u8] = &[0x06, 5, 3, 6, 1, 6, 0x80];
        const CUT: &[u8] = &[0x06, 5, 255];
        for (sei, is_key) in [(RECOVERY, true), (BEHIND, true), (USER_DATA, false), (CUT, false)] {
            assert_eq!(is_h264_recovery_point(sei), is_key, "{sei:?}");
            let packets: &[_] = &[
                Some((10, true, SLICE)),
                // With the marker and the timestamp of the picture before.
                Some((10, true, sei)),
                Some((20, true, SLICE)),
                Some((30, true, SLICE)),
            ];
            let (units, _) = feed(Format::H264, packets);
            assert_eq!(
                pieces(&units),
                [
                    (10, false, false, vec![SLICE]),
                    (20, is_key, false, vec![sei, SLICE]),
                    (30, false, false, vec![SLICE])
                ]
            );
        }
    }

    // RFC 6184 §5.7.2, figures 12 and 13: two units of different times, here against their decoding order.
    #[test]
    fn a_multi_time_aggregate_is_two_pictures_in_decoding_order() {
        let mtap16 = [&[0x7a, 0, 1, 0, 3, 1, 0, 20][..], SLICE, &[0, 5, 0, 0, 0], IDR].concat();
        let mtap24 = [
            &[0x7b, 0, 1, 0, 3, 1, 0, 0, 20][..],
            SLICE,
            &[0, 5, 0, 0, 0, 0],
            IDR,
        ]
        .concat();
        for mtap in [mtap16, mtap24] {
            let (units, _) = feed(Format::H264, &[Some((100, true, &mtap))]);
            assert_eq!(
                pieces(&units),
                [(100, true, false, vec![IDR]), (120, false, false, vec![SLICE])]
            );
        }
    }

    // RFC 6184 §5.8.
    #[test]
    fn fragments_become_one_unit() {
        for (first, rest) in [
            (&[0x7c, 0x85][..], [0x7c, 0x05]),
            (&[0x7d, 0x85, 0, 9][..], [0x7c, 0x05]),
        ] {
            let end = [0x7c, 0x45, 9];
            let packets = [
                [first, &[0x88]].concat(),
                [&rest[..], &[7, 8]].concat(),
                end.to_vec(),
            ];
            let (units, lost) = feed(
                Format::H264,
                &[
                    Some((1, false, &packets[0])),
                    Some((1, false, &packets[1])),
                    Some((1, true, &packets[2])),
                ],
            );
            assert_eq!(pieces(&units), [(1, true, false, vec![IDR])]);
            assert_eq!(lost, 0);
        }
    }

    // Guards pitfall RTP 10.
    #[test]
    fn a_missing_fragment_takes_its_picture_and_no_other() {
        let start: &[u8] = &[0x7c, 0x85, 0x88];
        let middle: &[u8] = &[0x7c, 0x05, 7];
        let end: &[u8] = &[0x7c, 0x45, 9];
        for (missing, expected) in [
            (0, vec![(20, false, true, vec![SLICE])]),
            (1, vec![(20, false, true, vec![SLICE])]),
            (2, vec![(20, false, true, vec![SLICE])]),
        ] {
            let mut packets = [
                Some((1, true, SLICE)),
                Some((10, false, start)),
                Some((10, false, middle)),
                Some((10, true, end)),
                Some((20, true, SLICE)),
            ];
            packets[1 + missing] = None;
            let (units, lost) = feed(Format::H264, &packets);
            assert_eq!(pieces(&units)[1..], expected, "{missing}");
            assert_eq!(lost, 1);
        }
    }

    #[test]
    fn a_picture_whose_first_slice_is_missing_is_not_given() {
        let (units, lost) = feed(
            Format::H264,
            &[
                Some((1, true, SLICE)),
                None,
                Some((2, true, SECOND)),
                None,
                Some((3, true, SLICE)),
            ],
        );
        assert_eq!(
            pieces(&units),
            [(1, false, false, vec![SLICE]), (3, false, true, vec![SLICE])]
        );
        assert_eq!(lost, 1);
        // The same in fragments, whose first comes right behind the gap.
        let start: &[u8] = &[0x5c, 0x81, 0x40];
        let (units, lost) = feed(
            Format::H264,
            &[
                Some((1, true, SLICE)),
                None,
                Some((2, false, start)),
                Some((2, true, &[0x5c, 0x41, 6])),
            ],
        );
        assert_eq!((units.len(), lost), (1, 1));
    }

    // Guards pitfall RTP 10.
    #[test]
    fn a_missing_marker_ends_no_picture_late() {
        let mut depacketizer = Depacketizer::new(Format::H264);
        depacketizer.handle(1, 10, false, IDR);
        assert_eq!(depacketizer.poll(), None);
        depacketizer.handle(2, 20, false, SLICE);
        depacketizer.handle(3, 20, false, SECOND);
        assert_eq!(pieces(&units(&mut depacketizer)), [(10, true, false, vec![IDR])]);
        depacketizer.end();
        assert_eq!(
            pieces(&units(&mut depacketizer)),
            [(20, false, false, vec![SLICE, SECOND])]
        );
    }

    // Guards pitfall RTP 10.
    #[test]
    fn parameter_sets_go_with_the_picture_that_follows() {
        let sei: &[u8] = &[0x06, 5, 1];
        let delimiter: &[u8] = &[0x09, 0xf0];
        let expected = [
            (10, false, false, vec![SLICE]),
            (20, true, false, vec![delimiter, SPS, PPS, sei, IDR]),
            (30, false, false, vec![SLICE]),
        ];
        let sets = [delimiter, SPS, PPS, sei];
        for marker in [false, true] {
            // With the timestamp of the picture before, with the next one's, or with one of their own.
            for (timestamp, ends) in [
                (10, true),
                (10, false),
                (20, true),
                (20, false),
                (15, true),
                (15, false),
            ] {
                let mut packets = vec![Some((10, ends, SLICE))];
                packets.extend(sets.map(|set| Some((timestamp, marker, set))));
                packets.push(Some((20, ends, IDR)));
                packets.push(Some((30, ends, SLICE)));
                let (units, lost) = feed(Format::H264, &packets);
                assert_eq!(pieces(&units), expected, "{timestamp} {marker} {ends}");
                assert_eq!(lost, 0);
            }
        }
        let stap = [&[0x78, 0, 3][..], SPS, &[0, 2], PPS].concat();
        let (units, _) = feed(Format::H264, &[Some((10, true, &stap)), Some((20, true, IDR))]);
        assert_eq!(pieces(&units), [(20, true, false, vec![SPS, PPS, IDR])]);
    }

    // Guards pitfall RTP 10.
    #[test]
    fn a_gap_around_parameter_sets_takes_no_picture_that_is_whole() {
        let stap = [&[0x78, 0, 3][..], SPS, &[0, 2], PPS].concat();
        for (packets, expected, lost) in [
            // Before the sets, between them and the picture, and the sets themselves.
            (
                vec![
                    Some((1, true, SLICE)),
                    None,
                    Some((2, true, &stap[..])),
                    Some((3, true, IDR)),
                ],
                vec![
                    (1, false, false, vec![SLICE]),
                    (3, true, true, vec![SPS, PPS, IDR]),
                ],
                0,
            ),
            (
                vec![
                    Some((1, true, SLICE)),
                    Some((2, true, &stap)),
                    None,
                    Some((3, true, IDR)),
                ],
                vec![(1, false, false, vec![SLICE]), (3, true, true, vec![IDR])],
                1,
            ),
            (
                vec![Some((1, true, SLICE)), None, Some((2, true, IDR))],
                vec![(1, false, false, vec![SLICE]), (2, true, true, vec![IDR])],
                0,
            ),
        ] {
            let (units, counted) = feed(Format::H264, &packets);
            assert_eq!(pieces(&units), expected);
            assert_eq!(counted, lost);
        }
        // What never becomes a picture is not gathered for ever.
        let mut depacketizer = Depacketizer::new(Format::H264);
        for n in 0..20_000_u16 {
            depacketizer.handle(n, n.into(), true, SPS);
            assert!(
                depacketizer
                    .unit
                    .as_ref()
                    .is_none_or(|unit| unit.pieces.len() <= limits::ACCESS_UNIT_PIECES)
            );
        }
        assert!(depacketizer.lost() > 0);
    }

    // Guards pitfall RTP 10.
    #[test]
    fn start_codes_within_packets_part_units() {
        let whole = [&[0, 0, 0, 1][..], SPS, &[0, 0, 1], PPS, &[0, 0, 0, 1], IDR].concat();
        let without_first = [SPS, &[0, 0, 0, 1], PPS, &[0, 0, 1], IDR].concat();
        let (fu_start, fu_end) = without_first[1..].split_at(5);
        let fu_start = [&[0x7c, 0x87][..], fu_start].concat();
        let fu_end = [&[0x7c, 0x47][..], fu_end].concat();
        let expected = vec![(1, true, false, vec![SPS, PPS, IDR])];
        for packets in [
            vec![Some((1, true, &whole[..]))],
            vec![Some((1, true, &without_first[..]))],
            vec![Some((1, false, &fu_start[..])), Some((1, true, &fu_end[..]))],
        ] {
            let (units, _) = feed(Format::H264, &packets);
            assert_eq!(pieces(&units), expected);
        }
        assert_eq!(split_annex_b(SLICE).collect::<Vec<_>>(), [SLICE]);
        assert_eq!(split_annex_b(&[0, 0, 1]).count(), 0);
    }

    #[test]
    fn late_and_doubled_packets_are_passed_over_and_a_restart_is_not() {
        let mut depacketizer = Depacketizer::new(Format::H264);
        for (sequence, timestamp) in [
            (5, 1),
            (5, 1),
            (4, 0),
            (6, 2),
            (2, 9),
            (30_000, 3),
            (30_001, 4),
            (10, 5),
            (11, 6),
        ] {
            depacketizer.handle(sequence, timestamp, true, SLICE);
        }
        let got = units(&mut depacketizer);
        let told: Vec<_> = got
            .iter()
            .map(|unit| (unit.timestamp, unit.follows_loss))
            .collect();
        assert_eq!(
            told,
            [
                (1, false),
                (2, false),
                (3, true),
                (4, false),
                (5, true),
                (6, false)
            ]
        );
    }

    #[test]
    fn what_breaks_the_format_is_not_given() {
        for bad in [
            &[0x78][..],
            &[0x78, 0],
            &[0x78, 0, 0],
            &[0x78, 0, 9, 1],
            &[0x78, 0, 1, 0x67, 0],
            &[0x79, 0],
            &[0x7a, 0, 0],
            &[0x7a, 0, 0, 0, 9, 0, 0, 0, 1],
            &[0x7c],
            &[0x7c, 0x05, 1],
            &[0x7c, 0x85, 1],
        ] {
            let (units, lost) = feed(Format::H264, &[Some((1, true, bad)), Some((2, true, SLICE))]);
            assert_eq!(pieces(&units), [(2, false, true, vec![SLICE])], "{bad:?}");
            assert_eq!(lost, 1, "{bad:?}");
        }
    }

    #[test]
    fn what_is_endless_is_dropped() {
        let mut depacketizer = Depacketizer::new(Format::H264);
        let part = [&[0x7c, 0x05][..], &[9; 60_000]].concat();
        depacketizer.handle(0, 1, false, &[0x7c, 0x85, 0x88]);
        for sequence in 1..1_000 {
            depacketizer.handle(sequence, 1, false, &part);
            let held = depacketizer.fragment.as_ref().map_or(0, Vec::len);
            assert!(held <= limits::ACCESS_UNIT_BYTES);
        }
        for sequence in 1_000..(1_000 + limits::ACCESS_UNIT_PIECES as u16 + 10) {
            depacketizer.handle(sequence, 2, false, SLICE);
        }
        assert!(depacketizer.unit.as_ref().unwrap().pieces.is_empty());
        depacketizer.end();
        assert_eq!((units(&mut depacketizer).len(), depacketizer.lost()), (0, 2));
        for n in 0..WAITING_UNITS as u16 + 5 {
            depacketizer.handle(6_000 + n, n.into(), true, SLICE);
        }
        assert_eq!(units(&mut depacketizer).len(), WAITING_UNITS);
    }

    #[test]
    fn what_is_written_is_read_back_and_fits() {
        let large: Vec<u8> = [0x65, 0x88]
            .into_iter()
            .chain((0..5_000u32).map(|n| (n % 251) as u8 | 1))
            .collect();
        for max_bytes in [32, 100, 1_400, 10_000] {
            let nals = [SPS, PPS, &large[..], SECOND, SECOND];
            let payloads = write::h264(&nals, max_bytes);
            assert!(payloads.iter().all(|payload| payload.bytes.len() <= max_bytes));
            assert_eq!(payloads[0].bytes[0], 0x78, "the parameter sets go together");
            let markers: Vec<_> = payloads.iter().map(|payload| payload.marker).collect();
            assert_eq!(markers.iter().position(|marker| *marker), Some(markers.len() - 1));
            let packets: Vec<_> = payloads
                .iter()
                .map(|p| Some((7, p.marker, &p.bytes[..])))
                .collect();
            let (units, lost) = feed(Format::H264, &packets);
            assert_eq!(pieces(&units), [(7, true, false, nals.to_vec())]);
            assert_eq!(lost, 0);
        }
        assert!(write::h264(&[], 100).is_empty());
    }
}

mod h265 {
    use super::*;

    // ITU-T H.265 §D.3.8.
    #[test]
    fn a_recovery_point_is_where_decoding_may_begin() {
        const RECOVERY: &[u8] = &[39 << 1, 1, 6, 1, 0xc0, 0x80];
        const HASH: &[u8] = &[40 << 1, 1, 6, 1, 0xc0, 0x80];
        const TRAIL: &[u8] = &[1 << 1, 1, 0x80, 7];
        let format = Format::H265 { has_donl: false };
        for (sei, is_key) in [(RECOVERY, true), (HASH, false)] {
            assert_eq!(is_h265_recovery_point(sei), is_key);
            let (units, _) = feed(format, &[Some((10, false, sei)), Some((10, true, TRAIL))]);
            assert_eq!(pieces(&units), [(10, is_key, false, vec![sei, TRAIL])]);
        }
        assert!(!is_h265_recovery_point(&[39 << 1]));
    }

    const VPS: &[u8] = &[0x40, 1, 9];
    const SPS: &[u8] = &[0x42, 1, 8];
    const IDR: &[u8] = &[0x26, 1, 0x80, 7, 6];
    const SLICE: &[u8] = &[0x02, 1, 0x80, 5];
    const PLAIN: Format = Format::H265 { has_donl: false };
    const ORDERED: Format = Format::H265 { has_donl: true };

    #[test]
    fn single_units_aggregates_and_fragments() {
        let aggregate = [&[0x60, 1, 0, 3][..], VPS, &[0, 3], SPS].concat();
        let (units, lost) = feed(
            PLAIN,
            &[
                Some((1, false, &aggregate)),
                Some((1, false, &[0x62, 1, 0x93, 0x80])),
                Some((1, false, &[0x62, 1, 0x13, 7])),
                Some((1, true, &[0x62, 1, 0x53, 6])),
                Some((2, true, SLICE)),
            ],
        );
        assert_eq!(
            pieces(&units),
            [
                (1, true, false, vec![VPS, SPS, IDR]),
                (2, false, false, vec![SLICE])
            ]
        );
        assert_eq!(lost, 0);
    }

    #[test]
    fn decoding_order_numbers_are_passed_over_where_they_stand() {
        let aggregate = [&[0x60, 1, 0, 1, 0, 3][..], VPS, &[0, 0, 3], SPS].concat();
        let single = [&IDR[..2], &[0, 5], &IDR[2..]].concat();
        let (units, lost) = feed(
            ORDERED,
            &[
                Some((1, false, &aggregate)),
                Some((1, true, &single)),
                Some((2, false, &[0x62, 1, 0x81, 0, 6, 0x80])),
                Some((2, true, &[0x62, 1, 0x41, 5])),
            ],
        );
        assert_eq!(
            pieces(&units),
            [
                (1, true, false, vec![VPS, SPS, IDR]),
                (2, false, false, vec![SLICE])
            ]
        );
        assert_eq!(lost, 0);
    }

    // Guards pitfall RTP 10.
    #[test]
    fn parameter_sets_go_with_the_picture_that_follows() {
        let (delimiter, sei): (&[u8], &[u8]) = (&[0x46, 1, 0x50], &[0x4e, 1, 4]);
        let suffix: &[u8] = &[0x50, 1, 4];
        let packets = [
            Some((10, false, SLICE)),
            Some((10, true, suffix)),
            Some((10, true, delimiter)),
            Some((10, true, VPS)),
            Some((20, true, SPS)),
            Some((20, true, sei)),
            Some((20, true, IDR)),
        ];
        let (units, lost) = feed(PLAIN, &packets);
        assert_eq!(
            pieces(&units),
            [
                (10, false, false, vec![SLICE, suffix]),
                (20, true, false, vec![delimiter, VPS, SPS, sei, IDR])
            ]
        );
        assert_eq!(lost, 0);
    }

    // RFC 7798 §4.4.4: the payload's own header is made of the PACI's fields.
    #[test]
    fn a_unit_with_content_information_is_unwrapped() {
        let fields = (19u16 << 9 | 3 << 4).to_be_bytes();
        let paci = [&[0x64, 1][..], &fields, &[1, 2, 3], &IDR[2..]].concat();
        let (units, _) = feed(PLAIN, &[Some((1, true, &paci))]);
        assert_eq!(pieces(&units), [(1, true, false, vec![IDR])]);
    }

    #[test]
    fn what_breaks_the_format_is_not_given() {
        let nested = (50u16 << 9).to_be_bytes();
        for (format, bad) in [
            (PLAIN, &[0x60][..]),
            (PLAIN, &[0x60, 1]),
            (PLAIN, &[0x60, 1, 0, 9, 1]),
            (PLAIN, &[0x62, 1]),
            (PLAIN, &[0x62, 1, 0x13, 1]),
            (PLAIN, &[0x64, 1, 0]),
            (PLAIN, &[0x64, 1, nested[0], nested[1], 1, 2]),
            (ORDERED, &[0x60, 1, 0]),
            (ORDERED, &[0x60, 1, 0, 1, 0, 1, 5, 9]),
            (ORDERED, &[0x26, 1, 0]),
        ] {
            let (units, lost) = feed(format, &[Some((1, true, bad))]);
            assert_eq!((units.len(), lost), (0, 1), "{bad:?}");
        }
        let second = &[0x02, 1, 0, 5][..];
        let (units, lost) = feed(
            PLAIN,
            &[
                Some((1, true, SLICE)),
                None,
                Some((2, true, second)),
                Some((3, true, SLICE)),
            ],
        );
        assert_eq!((units.len(), lost), (2, 1));
        assert!(units[1].follows_loss);
    }

    #[test]
    fn what_is_written_is_read_back_and_fits() {
        let large: Vec<u8> = [0x26, 1, 0x80]
            .into_iter()
            .chain((0..3_000u32).map(|n| (n % 251) as u8 | 1))
            .collect();
        for max_bytes in [32, 99, 1_400] {
            let nals = [VPS, SPS, &large[..], SLICE];
            let payloads = write::h265(&nals, max_bytes);
            assert!(payloads.iter().all(|payload| payload.bytes.len() <= max_bytes));
            let packets: Vec<_> = payloads
                .iter()
                .map(|p| Some((7, p.marker, &p.bytes[..])))
                .collect();
            let (units, lost) = feed(PLAIN, &packets);
            assert_eq!(pieces(&units), [(7, true, false, nals.to_vec())]);
            assert_eq!(lost, 0);
        }
    }
}

mod audio {
    use super::*;

    const HBR: Format = Format::Aac(AacHeaders::HIGH_BIT_RATE);

    #[test]
    fn several_frames_of_aac_have_times_of_their_own() {
        let packet = [0, 32, 0, 16, 0, 24, 1, 2, 3, 4, 5];
        let (units, lost) = feed(HBR, &[Some((100, true, &packet))]);
        assert_eq!(
            pieces(&units),
            [
                (100, true, false, vec![&[1, 2][..]]),
                (1_124, true, false, vec![&[3, 4, 5][..]])
            ]
        );
        assert_eq!(lost, 0);
    }

    #[test]
    fn a_large_frame_of_aac_comes_in_fragments_that_all_tell_its_size() {
        let head = [0, 16, 0, 40];
        let (first, second) = ([&head[..], &[1, 2, 3]].concat(), [&head[..], &[4, 5]].concat());
        let whole: [u8; 5] = [1, 2, 3, 4, 5];
        let (units, lost) = feed(HBR, &[Some((1, false, &first)), Some((1, true, &second))]);
        assert_eq!(
            (pieces(&units), lost),
            (vec![(1, true, false, vec![&whole[..]])], 0)
        );
        let next = [0, 16, 0, 8, 9];
        for lost_one in [0, 1] {
            let mut packets = [
                Some((0, true, &next[..])),
                Some((1, false, &first)),
                Some((1, true, &second)),
                Some((2, true, &next)),
            ];
            packets[1 + lost_one] = None;
            let (units, _) = feed(HBR, &packets);
            assert_eq!(
                pieces(&units)[1..],
                [(2, true, true, vec![&[9][..]])],
                "{lost_one}"
            );
        }
    }

    #[test]
    fn headers_of_any_make_are_read() {
        let headers = AacHeaders {
            size_bits: 6,
            index_bits: 2,
            index_delta_bits: 2,
            cts_delta_bits: 8,
            dts_delta_bits: 4,
            has_random_access: true,
            stream_state_bits: 3,
            auxiliary_size_bits: 8,
            ..AacHeaders::HIGH_BIT_RATE
        };
        // size 2, index 0, no CTS, DTS 5, RAP, state 1 (18 bits); size 1, delta 1, CTS -10, no DTS, RAP, state 1 (22 bits).
        let bits = "000010 00 0 1 0101 1 001 000001 01 1 11110110 0 1 001".replace(' ', "");
        let count = bits.len() as u16;
        let padded = format!("{bits:0<48}");
        let mut packet = count.to_be_bytes().to_vec();
        for byte in padded.as_bytes().chunks(8).take(usize::from(count.div_ceil(8))) {
            packet.push(byte.iter().fold(0, |value, bit| value << 1 | (bit - b'0')));
        }
        packet.extend_from_slice(&[8, 0xaa, 1, 2, 3]);
        let (units, _) = feed(Format::Aac(headers), &[Some((1_000, true, &packet))]);
        assert_eq!(
            pieces(&units),
            [
                (1_000, true, false, vec![&[1, 2][..]]),
                (990, true, false, vec![&[3][..]])
            ]
        );
        let fixed = AacHeaders {
            constant_size_bytes: 2,
            duration_units: 10,
            ..AacHeaders::default()
        };
        let (units, _) = feed(Format::Aac(fixed), &[Some((0, true, &[1, 2, 3, 4]))]);
        assert_eq!(
            pieces(&units),
            [
                (0, true, false, vec![&[1, 2][..]]),
                (10, true, false, vec![&[3, 4][..]])
            ]
        );
    }

    #[test]
    fn headers_that_lie_take_nothing_else_with_them() {
        let good = [0, 16, 0, 8, 9];
        for bad in [
            &[0][..],
            &[0, 0],
            &[0, 16, 0],
            &[0, 32, 0, 16, 0, 24, 1, 2, 3],
            &[255, 255, 0, 8, 1],
            &[0, 17, 0, 8, 1],
        ] {
            let (units, lost) = feed(HBR, &[Some((1, true, bad)), Some((2, true, &good))]);
            assert_eq!(
                pieces(&units).last(),
                Some(&(2, true, true, vec![&[9][..]])),
                "{bad:?}"
            );
            assert_eq!(lost, 1, "{bad:?}");
        }
    }

    #[test]
    fn frames_of_aac_are_written_together_or_in_fragments() {
        let large: Vec<u8> = (0..200).collect();
        let huge = vec![0; 9_000];
        let frames: [&[u8]; 5] = [&[1, 2], &[3], &large, &huge, &[4]];
        let payloads = write::aac(&frames, 1_024, 64);
        assert!(payloads.iter().all(|payload| payload.bytes.len() <= 64));
        let packets: Vec<_> = payloads
            .iter()
            .map(|p| Some((p.timestamp_offset, p.marker, &p.bytes[..])))
            .collect();
        let (units, lost) = feed(HBR, &packets);
        assert_eq!(
            pieces(&units),
            [
                (0, true, false, vec![&[1, 2][..]]),
                (1_024, true, false, vec![&[3][..]]),
                (2_048, true, false, vec![&large[..]]),
                (4_096, true, false, vec![&[4][..]]),
            ]
        );
        assert_eq!(lost, 0);
    }

    #[test]
    fn frames_of_aac_are_written_behind_headers_of_any_make() {
        let rich = AacHeaders {
            size_bits: 11,
            index_bits: 2,
            index_delta_bits: 2,
            cts_delta_bits: 8,
            dts_delta_bits: 4,
            has_random_access: true,
            stream_state_bits: 3,
            auxiliary_size_bits: 9,
            ..AacHeaders::default()
        };
        let low = AacHeaders {
            size_bits: 6,
            index_bits: 2,
            index_delta_bits: 2,
            ..AacHeaders::default()
        };
        let sizes_alone = AacHeaders {
            size_bits: 16,
            ..AacHeaders::default()
        };
        let constant = AacHeaders {
            constant_size_bytes: 50,
            auxiliary_size_bits: 4,
            ..AacHeaders::default()
        };
        let constant_behind_flags = AacHeaders {
            has_random_access: true,
            ..constant
        };
        let sizeless = AacHeaders {
            index_bits: 8,
            ..AacHeaders::default()
        };
        let (short, long): (Vec<u8>, Vec<u8>) = ((1..=50).collect(), (0..1_500).map(|n| n as u8).collect());
        for (headers, frames, left_out) in [
            (
                AacHeaders::HIGH_BIT_RATE,
                vec![&short, &long, &short],
                vec![vec![0; 8_192]],
            ),
            (rich, vec![&long, &short], vec![vec![0; 2_048]]),
            (low, vec![&short, &short], vec![vec![0; 64], long.clone()]),
            (sizes_alone, vec![&short, &long], vec![vec![0; 65_536]]),
            (constant, vec![&short, &short], vec![vec![0; 49], vec![0; 100]]),
            (constant_behind_flags, vec![&short, &short], vec![vec![0; 49]]),
            (sizeless, vec![&short, &long, &short], vec![]),
            (AacHeaders::default(), vec![&long, &short, &long], vec![]),
        ] {
            let mut packets = Vec::new();
            for (frame, n) in frames.iter().zip(0..) {
                for payload in write::aac_as(frame, &headers, 400) {
                    assert!(payload.bytes.len() <= 400, "{headers:?}");
                    assert_eq!(payload.timestamp_offset, 0);
                    packets.push((1_024 * n, payload.marker, payload.bytes));
                }
            }
            for frame in left_out.iter().chain([&Vec::new()]) {
                assert_eq!(write::aac_as(frame, &headers, 400), [], "{headers:?}");
            }
            let packets: Vec<_> = packets
                .iter()
                .map(|(timestamp, marker, bytes)| Some((*timestamp, *marker, &bytes[..])))
                .collect();
            let (units, lost) = feed(Format::Aac(headers), &packets);
            let expected: Vec<_> = frames
                .iter()
                .zip(0..)
                .map(|(frame, n)| (1_024 * n, true, false, vec![&frame[..]]))
                .collect();
            assert_eq!(pieces(&units), expected, "{headers:?}");
            assert_eq!(lost, 0);
        }
        // The mode that nearly all use is the same in both ways.
        let plain = write::aac(&[&long], 0, 400);
        assert_eq!(write::aac_as(&long, &AacHeaders::HIGH_BIT_RATE, 400), plain);
        // Size 5, index 0, no offsets, a beginning, state 0: 19 bits; and 9 bits of nothing.
        let rich = write::aac_as(b"abcde", &rich, 400);
        assert_eq!(rich[0].bytes, *b"\0\x13\x00\xa1\0\0\0abcde");
    }

    #[test]
    fn a_unit_whose_size_nothing_tells_ends_with_the_marker_or_where_the_next_begins() {
        let format = Format::Aac(AacHeaders::default());
        let packets = [
            Some((1, false, &[1, 2][..])),
            Some((1, true, &[3])),
            Some((2, false, &[4])),
            Some((3, true, &[5])),
            Some((4, false, &[6])),
            None,
            Some((4, true, &[8])),
            Some((5, true, &[9])),
        ];
        let (units, lost) = feed(format, &packets);
        assert_eq!(
            pieces(&units),
            [
                (1, true, false, vec![&[1, 2, 3][..]]),
                (2, true, false, vec![&[4][..]]),
                (3, true, false, vec![&[5][..]]),
                (5, true, true, vec![&[9][..]]),
            ]
        );
        assert_eq!(lost, 1);
    }

    #[test]
    fn elements_of_latm_are_written_whole_or_in_fragments() {
        let long = [&[255, 245][..], &[7; 500]].concat();
        let payloads = [write::latm(&[2, 8, 9], 200), write::latm(&long, 200)].concat();
        let sizes: Vec<_> = payloads.iter().map(|p| (p.bytes.len(), p.marker)).collect();
        assert_eq!(sizes, [(3, true), (200, false), (200, false), (102, true)]);
        let packets: Vec<_> = payloads
            .iter()
            .zip([0, 1, 1, 1])
            .map(|(p, timestamp)| Some((timestamp, p.marker, &p.bytes[..])))
            .collect();
        let (units, lost) = feed(Format::Latm { in_band: false }, &packets);
        assert_eq!(
            pieces(&units),
            [
                (0, true, false, vec![&[8, 9][..]]),
                (1, true, false, vec![&[7; 500][..]])
            ]
        );
        assert_eq!(lost, 0);
    }

    #[test]
    fn latm_tells_its_lengths_in_bytes_of_255() {
        let frame = [7; 300];
        let element = [&[255, 45][..], &frame, &[2, 8, 9]].concat();
        let plain = Format::Latm { in_band: false };
        let (first, second) = element.split_at(100);
        let (units, lost) = feed(plain, &[Some((1, false, first)), Some((1, true, second))]);
        assert_eq!(pieces(&units), [(1, true, false, vec![&frame[..], &[8, 9]])]);
        assert_eq!(lost, 0);
        let (units, _) = feed(Format::Latm { in_band: true }, &[Some((1, true, &[1, 2]))]);
        assert_eq!(pieces(&units), [(1, true, false, vec![&[1, 2][..]])]);
        for bad in [&[255][..], &[5, 1], &[0], &[1, 1, 0]] {
            assert_eq!(feed(plain, &[Some((1, true, bad))]).1, 1, "{bad:?}");
        }
    }

    // Guards pitfall RTP 10.
    #[test]
    fn latm_without_markers_ends_where_the_next_begins() {
        for (in_band, expected) in [(false, [7, 8]), (true, [2, 7])] {
            let format = Format::Latm { in_band };
            let packets = [
                Some((1, false, &[2, 7][..])),
                Some((1, false, &[8])),
                Some((2, false, &[2, 7, 8])),
                None,
                Some((3, false, &[2, 7, 8])),
                Some((4, false, &[2, 7, 8])),
            ];
            let (units, lost) = feed(format, &packets);
            let told: Vec<_> = units
                .iter()
                .map(|unit| (unit.timestamp, unit.follows_loss))
                .collect();
            assert_eq!(told, [(1, false), (3, true), (4, false)], "{in_band}");
            assert!(
                units
                    .iter()
                    .all(|unit| unit.is_key && unit.pieces[0].starts_with(&expected))
            );
            assert_eq!(lost, 1, "nobody knows whether the second was whole");
        }
    }

    #[test]
    fn mpeg_audio_is_parted_into_frames_and_put_together() {
        // Layer III, 32 kbit/s, 48 kHz: 96 bytes that last 24 ms.
        let frame = [&[0xff, 0xfb, 0x14, 0][..], &[5; 92]].concat();
        let packet = [&[0; 4][..], &frame, &frame].concat();
        let (units, lost) = feed(Format::MpegAudio, &[Some((0, true, &packet))]);
        assert_eq!(
            pieces(&units),
            [
                (0, true, false, vec![&frame[..]]),
                (2_160, true, false, vec![&frame[..]])
            ]
        );
        assert_eq!(lost, 0);
        let (first, second) = frame.split_at(50);
        let (first, second) = (
            [&[0; 4][..], first].concat(),
            [&[0, 0, 0, 50][..], second].concat(),
        );
        let (units, lost) = feed(
            Format::MpegAudio,
            &[
                Some((0, false, &first)),
                Some((0, false, &second)),
                Some((9, false, &first)),
                None,
                Some((18, false, &packet)),
            ],
        );
        assert_eq!(units.len(), 3);
        assert_eq!((units[1].timestamp, units[1].follows_loss, lost), (18, true, 1));
        for bad in [
            &[0, 0, 0][..],
            &[0, 0, 0, 0, 1],
            &[0, 0, 0, 0, 0xff, 0xfb, 0x04, 0],
            &[0, 0, 0, 9, 1],
            &[0, 0, 0, 0, 0xff, 0xef, 0x14, 0],
        ] {
            assert_eq!(feed(Format::MpegAudio, &[Some((0, false, bad))]).1, 1, "{bad:?}");
        }
    }

    #[test]
    fn what_needs_no_framing_is_a_unit_a_packet() {
        let (units, lost) = feed(
            Format::Whole,
            &[
                Some((0, true, &[1])),
                None,
                Some((320, false, &[2])),
                Some((320, false, &[3])),
            ],
        );
        assert_eq!(
            pieces(&units),
            [
                (0, true, false, vec![&[1][..]]),
                (320, true, true, vec![&[2][..]]),
                (320, true, false, vec![&[3][..]])
            ]
        );
        assert_eq!(lost, 0);
        let payloads = write::g711(&[0; 350], 160);
        let told: Vec<_> = payloads
            .iter()
            .map(|p| (p.timestamp_offset, p.bytes.len()))
            .collect();
        assert_eq!(told, [(0, 160), (160, 160), (320, 30)]);
        assert_eq!(write::opus(&[1, 2]).bytes, [1, 2]);
    }

    #[test]
    fn how_long_payloads_last() {
        for (name, channels, payload, units) in [
            ("PCMU", 1, &[0; 160][..], Some(160)),
            ("pcma", 2, &[0; 160], Some(80)),
            // RFC 3551 §4.5.2: 20 ms are 160 units, though they are 320 samples.
            ("G722", 1, &[0; 160], Some(160)),
            ("L16", 2, &[0; 160], Some(40)),
            ("L16", 2, &[0; 3], None),
            ("opus", 2, &[0x78], Some(960)),
            ("opus", 2, &[0x08], Some(960)),
            ("opus", 2, &[0x1b, 0x02], Some(5_760)),
            ("opus", 2, &[0x1b, 0x03], None),
            ("opus", 2, &[0x79], Some(1_920)),
            ("opus", 2, &[0x7b], None),
            ("opus", 2, &[], None),
            ("H264", 1, &[0; 9], None),
        ] {
            assert_eq!(
                duration_units(name, channels, payload),
                units,
                "{name} {payload:?}"
            );
        }
        let g722 = static_format(9).unwrap();
        assert_eq!((g722.clock_rate_hz, g722.sampling_rate_hz), (8_000, 16_000));
        assert_eq!(static_format(26).unwrap().name, "JPEG");
        assert_eq!(static_format(96), None);
    }
}

mod video {
    use super::*;

    #[test]
    fn vp8_descriptors_of_every_length() {
        for descriptor in [
            &[0x10][..],
            &[0x90, 0x80, 0x05],
            &[0x90, 0x80, 0x85, 0x01],
            &[0x90, 0x40, 7],
            &[0x90, 0x20, 7],
            &[0x90, 0x10, 7],
            &[0x90, 0xf0, 0x85, 1, 2, 3],
        ] {
            let key = [descriptor, &[0x50, 1]].concat();
            let other = [descriptor, &[0x51, 2]].concat();
            let (units, lost) = feed(
                Format::Vp8,
                &[
                    Some((1, false, &key)),
                    Some((1, true, &[0x00, 3])),
                    Some((2, true, &other)),
                ],
            );
            assert_eq!(
                pieces(&units),
                [
                    (1, true, false, vec![&[0x50, 1, 3][..]]),
                    (2, false, false, vec![&[0x51, 2][..]])
                ],
                "{descriptor:?}"
            );
            assert_eq!(lost, 0);
        }
        for bad in [
            &[0x90][..],
            &[0x90, 0x80],
            &[0x90, 0x80, 0x80],
            &[0x10],
            &[0x00, 1],
        ] {
            assert_eq!(feed(Format::Vp8, &[Some((1, true, bad))]).1, 1, "{bad:?}");
        }
    }

    // Guards pitfall RTP 10.
    #[test]
    fn a_frame_of_vp8_without_a_marker_or_without_its_middle() {
        let (start, middle) = (&[0x10, 0x50, 1][..], &[0x00, 3][..]);
        let (units, lost) = feed(
            Format::Vp8,
            &[
                Some((1, false, start)),
                Some((1, false, middle)),
                Some((2, true, start)),
            ],
        );
        assert_eq!(
            pieces(&units),
            [
                (1, true, false, vec![&[0x50, 1, 3][..]]),
                (2, true, false, vec![&[0x50, 1][..]])
            ]
        );
        assert_eq!(lost, 0);
        let (units, lost) = feed(
            Format::Vp8,
            &[
                Some((1, false, start)),
                None,
                Some((1, true, middle)),
                Some((2, true, start)),
            ],
        );
        assert_eq!(pieces(&units), [(2, true, true, vec![&[0x50, 1][..]])]);
        assert_eq!(lost, 1);
    }

    #[test]
    fn vp9_descriptors_of_both_modes() {
        // I, L, B, E, V with a structure of two layers and one picture; then a frame of the upper layer.
        let key = [
            0xae, 0x85, 1, 0x00, 9, 0x38, 0, 8, 0, 9, 0, 8, 0, 9, 1, 0x04, 3, 0x82,
        ];
        let upper = [0xac, 0x85, 1, 0x03, 9, 0xbb];
        let (units, lost) = feed(Format::Vp9, &[Some((1, false, &key)), Some((1, true, &upper))]);
        assert_eq!(pieces(&units), [(1, true, false, vec![&[0x82][..], &[0xbb]])]);
        assert_eq!(lost, 0);
        // Guards pitfall RTP 11: without P, frames of every profile say themselves whether they are keys.
        for (head, expected) in [
            (0x82, true),
            (0x86, false),
            (0x8a, false),
            (0xa2, true),
            (0x92, true),
            (0xb0, true),
            (0xb4, false),
            (0xb2, false),
            (0x42, false),
        ] {
            let (units, _) = feed(Format::Vp9, &[Some((1, true, &[0x0c, head, 0x49]))]);
            assert_eq!(units[0].is_key, expected, "{head:#x}");
        }
        let (units, _) = feed(Format::Vp9, &[Some((1, true, &[0x4c, 0x82, 0x49]))]);
        assert!(!units[0].is_key, "its descriptor says that it is predicted");
        // I, P, F, B: two references; continued and ended.
        let flexible = [0xd8, 5, 3, 2, 0xcc];
        let end = [0xd4, 5, 2, 0xdd];
        let (units, lost) = feed(Format::Vp9, &[Some((2, false, &flexible)), Some((2, true, &end))]);
        assert_eq!(pieces(&units), [(2, false, false, vec![&[0xcc, 0xdd][..]])]);
        assert_eq!(lost, 0);
        for bad in [
            &[0x8c][..],
            &[0x0c],
            &[0xdc, 5, 3, 3, 3, 3, 1],
            &[0x04, 1],
            &[0x0e, 0x10, 0],
            &[0x08, 1],
        ] {
            assert_eq!(feed(Format::Vp9, &[Some((1, true, bad))]).1, 1, "{bad:?}");
        }
    }
}

mod jpeg {
    use super::*;

    /// Pictures of 16 by 16 pixels that libjpeg wrote in qualities 30 and 80, in 4:2:2 and 4:2:0.
    const Q30: &[u8] = include_bytes!("testdata/q30-422.jpg");
    const Q80: &[u8] = include_bytes!("testdata/q80-420.jpg");
    /// What libjpeg writes before the quantization tables: the image's beginning and JFIF's segment.
    const JFIF_BYTES: usize = 20;
    /// From there to the scan.
    const HEAD_BYTES: usize = 2 * 69 + 19 + 2 * 33 + 2 * 183 + 14;
    const TABLES: usize = JFIF_BYTES + 5;

    /// An image as it is expected: without JFIF's segment.
    fn expected(file: &[u8]) -> Vec<u8> {
        [&file[..2], &file[JFIF_BYTES..]].concat()
    }

    fn scan(file: &[u8]) -> &[u8] {
        &file[JFIF_BYTES + HEAD_BYTES..]
    }

    /// A packet with a part of a scan, 16 by 16 pixels.
    fn packet(offset: usize, kind: u8, quality: u8, headers: &[u8], scan: &[u8]) -> Vec<u8> {
        let [_, offset @ ..] = (offset as u32).to_be_bytes();
        let head = [0, offset[0], offset[1], offset[2], kind, quality, 2, 2];
        [&head[..], headers, scan].concat()
    }

    fn two_packets(kind: u8, quality: u8, tables: &[u8], scan: &[u8]) -> Vec<AccessUnit> {
        let (first, second) = scan.split_at(7);
        let first = packet(0, kind, quality, tables, first);
        let second = packet(7, kind, quality, &[], second);
        let (units, lost) = feed(
            Format::Jpeg,
            &[Some((1, false, &first)), Some((1, true, &second))],
        );
        assert_eq!(lost, 0);
        units
    }

    #[test]
    fn an_image_is_as_the_library_wrote_it() {
        for (file, kind, quality) in [(Q30, 0, 30), (Q80, 1, 80)] {
            let whole = expected(file);
            for end in [scan(file), &scan(file)[..scan(file).len() - 2]] {
                let units = two_packets(kind, quality, &[], end);
                assert_eq!(pieces(&units), [(1, true, false, vec![&whole[..]])], "{quality}");
            }
            // The same with tables that are sent.
            let tables = [
                &[0, 0, 0, 128][..],
                &file[TABLES..TABLES + 64],
                &file[TABLES + 69..TABLES + 133],
            ]
            .concat();
            for quality in [128, 255] {
                let units = two_packets(kind, quality, &tables, scan(file));
                assert_eq!(units[0].pieces[0], whole, "{quality}");
            }
        }
    }

    #[test]
    fn tables_that_were_sent_once_may_be_left_out_later() {
        let tables = [
            &[0, 0, 0, 128][..],
            &Q30[TABLES..TABLES + 64],
            &Q30[TABLES + 69..TABLES + 133],
        ]
        .concat();
        for (quality, is_kept) in [(200, true), (255, false)] {
            let first = packet(0, 0, quality, &tables, scan(Q30));
            let second = packet(0, 0, quality, &[0; 4], scan(Q30));
            let (units, lost) = feed(Format::Jpeg, &[Some((1, true, &first)), Some((2, true, &second))]);
            assert_eq!((units.len(), lost), if is_kept { (2, 0) } else { (1, 1) });
            assert!(units.iter().all(|unit| unit.pieces == [expected(Q30)]));
        }
    }

    #[test]
    fn tables_of_two_bytes_and_restart_markers_stand_in_the_head() {
        // The first table in two bytes a value, the second in one; restart every four units.
        let wide: Vec<u8> = (0..64).flat_map(|n| [1, n]).collect();
        let tables = [&[0, 1, 0, 192][..], &wide, &[7; 64]].concat();
        let restart = [0, 4, 0xff, 0xff];
        let only = packet(0, 65, 255, &[&restart[..], &tables].concat(), &[1, 2, 3]);
        let (units, _) = feed(Format::Jpeg, &[Some((1, true, &only))]);
        let image = &units[0].pieces[0];
        let expected = [
            &[0xff, 0xd8, 0xff, 0xdb, 0, 131, 0x10][..],
            &wide,
            &[0xff, 0xdb, 0, 67, 1],
            &[7; 64],
            &[0xff, 0xdd, 0, 4, 0, 4, 0xff, 0xc0],
        ]
        .concat();
        assert!(image.starts_with(&expected));
        assert!(image.ends_with(&[1, 2, 3, 0xff, 0xd9]));
        // One table alone is that of all components.
        let only = packet(0, 0, 255, &[&[0, 0, 0, 64][..], &[9; 64]].concat(), &[1]);
        let (units, _) = feed(Format::Jpeg, &[Some((1, true, &only))]);
        let both = units[0].pieces[0]
            .windows(65)
            .filter(|window| window[1..] == [9; 64]);
        assert_eq!(both.map(|window| window[0]).collect::<Vec<_>>(), [0, 1]);
    }

    // Guards pitfall RTP 10.
    #[test]
    fn an_image_without_a_packet_is_not_given_and_one_without_a_marker_is() {
        let first = packet(0, 1, 80, &[], &[1, 2, 3]);
        let second = packet(3, 1, 80, &[], &[4, 5]);
        let (units, lost) = feed(
            Format::Jpeg,
            &[
                Some((1, true, &second)),
                Some((2, false, &first)),
                None,
                Some((2, true, &second)),
                Some((3, false, &first)),
                Some((3, false, &second)),
                Some((4, true, &first)),
            ],
        );
        let told: Vec<_> = units
            .iter()
            .map(|unit| (unit.timestamp, unit.follows_loss))
            .collect();
        assert_eq!(told, [(3, true), (4, false)]);
        assert!(units[0].pieces[0].ends_with(&[1, 2, 3, 4, 5, 0xff, 0xd9]));
        assert_eq!(lost, 2);
        let tables = packet(0, 65, 255, &[0, 4, 0, 0, 0, 0, 0, 64], &[1; 64]);
        for bad in [
            &[0, 0, 0][..],
            &tables[..11],
            &tables[..17],
            &packet(0, 2, 80, &[], &[1]),
            &packet(0, 128, 80, &[], &[1]),
            &packet(0, 1, 0, &[], &[1]),
            &packet(0, 1, 200, &[0, 0, 0, 3], &[1; 3]),
            &packet(0, 1, 200, &[0, 3, 0, 150], &[1; 150]),
            &[0, 0, 0, 0, 1, 80, 0, 2, 1],
        ] {
            assert_eq!(feed(Format::Jpeg, &[Some((1, true, bad))]).1, 1, "{bad:?}");
        }
    }
}

mod mpeg4_visual {
    use super::*;

    /// The headers of a sequence, an object and its layer.
    const CONFIG: &[u8] = &[
        0, 0, 1, 0xb0, 1, 0, 0, 1, 0xb5, 9, 0, 0, 1, 0, 0, 0, 1, 0x20, 0, 0x84, 0x40,
    ];
    const GROUP: &[u8] = &[0, 0, 1, 0xb3, 0, 0x10, 7];
    /// A picture coded by itself, and one that needs others.
    const KEY: &[u8] = &[0, 0, 1, 0xb6, 0x10, 0xc0, 7, 8, 9];
    const OTHER: &[u8] = &[0, 0, 1, 0xb6, 0x50, 0xc0, 5];
    const END: &[u8] = &[0, 0, 1, 0xb1];

    #[test]
    fn pictures_are_given_whole_with_what_stands_before_them() {
        let first = [CONFIG, GROUP, KEY].concat();
        let (units, lost) = feed(
            Format::Mpeg4Visual,
            &[
                Some((1, false, &first[..25])),
                Some((1, true, &first[25..])),
                // Without a marker.
                Some((2, false, OTHER)),
                Some((3, true, OTHER)),
                Some((3, false, END)),
            ],
        );
        let expected = [
            (1, true, false, vec![&first[..]]),
            (2, false, false, vec![OTHER]),
            (3, false, false, vec![OTHER]),
        ];
        assert_eq!((pieces(&units), lost), (expected.to_vec(), 0));
    }

    #[test]
    fn a_configuration_in_packets_of_its_own_belongs_to_the_picture_behind_it() {
        let whole = [CONFIG, GROUP, KEY].concat();
        // Of the picture's time as it should be, of the one before, and marked as no configuration is.
        for (time, marker) in [(2, false), (1, false), (1, true), (2, true)] {
            let packets = [
                Some((1, true, OTHER)),
                Some((time, marker, CONFIG)),
                Some((time, marker, GROUP)),
                Some((2, true, KEY)),
            ];
            let (units, lost) = feed(Format::Mpeg4Visual, &packets);
            let expected = [(1, false, false, vec![OTHER]), (2, true, false, vec![&whole[..]])];
            assert_eq!((pieces(&units), lost), (expected.to_vec(), 0), "{time} {marker}");
        }
        // Wherever it is cut before the picture has shown itself, in its start code too.
        let picture = CONFIG.len() + GROUP.len();
        for cut in 3..picture + 4 {
            let packets = [Some((2, true, &whole[..cut])), Some((2, true, &whole[cut..]))];
            let (units, lost) = feed(Format::Mpeg4Visual, &packets);
            assert_eq!(
                (pieces(&units), lost),
                (vec![(2, true, false, vec![&whole[..]])], 0),
                "{cut}"
            );
        }
        // Nothing comes behind it.
        let (units, lost) = feed(Format::Mpeg4Visual, &[Some((1, true, CONFIG))]);
        assert_eq!((units.len(), lost), (0, 1));
    }

    #[test]
    fn a_picture_without_its_beginning_or_its_middle_is_not_given() {
        let packets = [
            // Joined in the middle.
            Some((1, true, &[7, 8, 9][..])),
            Some((2, false, KEY)),
            None,
            Some((2, true, &[1, 2])),
            Some((3, false, OTHER)),
            // With the marker.
            None,
            Some((4, true, OTHER)),
        ];
        let (units, lost) = feed(Format::Mpeg4Visual, &packets);
        assert_eq!(pieces(&units), [(4, false, true, vec![OTHER])]);
        assert_eq!(lost, 3);
    }

    #[test]
    fn several_pictures_in_a_packet_stay_together() {
        let both = [KEY, OTHER].concat();
        let (units, _) = feed(Format::Mpeg4Visual, &[Some((1, true, &both))]);
        assert_eq!(pieces(&units), [(1, true, false, vec![&both[..]])]);
    }

    #[test]
    fn what_is_in_a_stream_is_told_by_its_start_codes() {
        let octets = [CONFIG, GROUP, OTHER].concat();
        let codes: Vec<_> = mpeg4_start_codes(&octets).collect();
        let expected = [(0, 0xb0), (5, 0xb5), (10, 0), (14, 0x20), (21, 0xb3), (28, 0xb6)];
        assert_eq!(codes, expected);
        assert_eq!(mpeg4_configuration(&octets), Some(CONFIG));
        assert_eq!(mpeg4_configuration(CONFIG), Some(CONFIG));
        assert_eq!(mpeg4_configuration(KEY), None);
        assert_eq!(mpeg4_configuration(&CONFIG[..14]), None);
        assert_eq!(is_mpeg4_key(&octets), Some(false));
        assert_eq!(is_mpeg4_key(KEY), Some(true));
        assert_eq!(is_mpeg4_key(&KEY[..4]), None);
        assert_eq!(is_mpeg4_key(CONFIG), None);
    }

    fn sent(octets: &[u8], max_bytes: usize) -> Vec<Vec<u8>> {
        let payloads = write::mpeg4_visual(octets, max_bytes);
        let markers: Vec<_> = payloads.iter().map(|payload| payload.marker).collect();
        assert_eq!(markers.iter().filter(|marker| **marker).count(), 1);
        assert_eq!(markers.last(), Some(&true));
        let packets: Vec<_> = payloads
            .iter()
            .map(|payload| Some((1, payload.marker, &payload.bytes[..])))
            .collect();
        let (units, lost) = feed(Format::Mpeg4Visual, &packets);
        assert_eq!((&units[0].pieces, lost), (&vec![octets.to_vec()], 0));
        payloads.into_iter().map(|payload| payload.bytes).collect()
    }

    #[test]
    fn pictures_are_sent_in_video_packets_that_are_cut_only_where_they_must_be() {
        // Two that fit together, one that fits nowhere, and a last one.
        let packet = |octets: usize| [&[0, 0, 0x80][..], &vec![5; octets]].concat();
        let octets = [KEY, &packet(20), &packet(20), &packet(90), &packet(2)].concat();
        let lengths: Vec<_> = sent(&octets, 60).iter().map(Vec::len).collect();
        assert_eq!(lengths, [9 + 23 + 23, 60, 33, 5]);
        // Without video packets it is cut anywhere, and one that fits is not.
        let octets = [CONFIG, KEY, &[5; 100]].concat();
        let lengths: Vec<_> = sent(&octets, 60).iter().map(Vec::len).collect();
        assert_eq!(lengths, [60, 60, 10]);
        assert_eq!(sent(&octets, 200).len(), 1);
    }

    #[test]
    fn the_header_of_a_picture_is_never_cut() {
        let octets = [CONFIG, &[0, 0, 1, 0xb2][..], &[5; 30], KEY, &[5; 100]].concat();
        let payloads = sent(&octets, 60);
        assert_eq!(payloads[0].len(), CONFIG.len() + 34);
        assert!(payloads[1].starts_with(KEY));
    }
}
