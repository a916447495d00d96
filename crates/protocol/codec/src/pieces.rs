//! What tests of decoders are fed with.

use ringpost_base::Rng;

/// Octets as packets, each behind its length in two octets.
pub fn packets(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (head, rest) = data.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes([head[0], head[1]])).min(rest.len());
        let (packet, rest) = rest.split_at(length);
        data = rest;
        Some(packet)
    })
}

/// A packet that something has happened to.
pub fn broken(packet: &[u8], rng: &mut Rng) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let any = |rng: &mut Rng, below: usize| rng.u32() as usize % below.max(1);
    match any(rng, 5) {
        0 => packet = (0..any(rng, 1_500)).map(|_| rng.u32() as u8).collect(),
        1 => packet.truncate(any(rng, packet.len())),
        2 => {
            let at = any(rng, packet.len());
            packet
                .iter_mut()
                .skip(at)
                .for_each(|byte| *byte = rng.u32() as u8);
        }
        _ => {
            for _ in 0..=any(rng, 8) {
                let at = any(rng, packet.len());
                if let Some(byte) = packet.get_mut(at) {
                    *byte ^= 1 << any(rng, 8);
                }
            }
        }
    }
    packet
}
