//! Which worker a client's address belongs to: the one for which it weighs most, so that a worker that goes or comes moves only its
//! own clients (rendezvous hashing).

use std::net::IpAddr;

use crate::ids::WorkerId;

/// FNV-1a over the address and the worker, mixed once more.
pub fn weight(peer: IpAddr, worker: WorkerId) -> u64 {
    let octets = match peer {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    };
    let bytes = octets.into_iter().chain(worker.0.to_le_bytes());
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
    });
    (hash ^ (hash >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}
