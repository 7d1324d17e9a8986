//! A toy encoding of what travels between SWIM members.

use heartsay_membership::Status;

#[derive(Clone, Copy, Debug)]
pub(super) struct Claim {
    pub(super) member: usize,
    pub(super) status: Status,
    pub(super) incarnation: u32,
    pub(super) from: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ping,
    Ack,
    PingRequest,
    Nack,
    Gossip,
    Pull,
    Pulled,
}

pub(super) fn put(bytes: &mut Vec<u8>, claim: Claim) {
    bytes.extend((claim.member as u16).to_le_bytes());
    bytes.push(match claim.status {
        Status::Alive | Status::Restarting => 0,
        Status::Suspect => 1,
        Status::Down | Status::Left => 2,
    });
    bytes.extend(claim.incarnation.to_le_bytes());
    bytes.extend((claim.from as u16).to_le_bytes());
}

/// Kind, sequence, target and claims; `None` for what no model wrote (bits flip in some scenarios).
pub(super) fn read(bytes: &[u8], nodes: usize) -> Option<(Kind, u32, usize, Vec<Claim>)> {
    let ([kind, head @ ..], claims) = bytes.split_first_chunk::<7>()?;
    let kinds =
        [Kind::Ping, Kind::Ack, Kind::PingRequest, Kind::Nack, Kind::Gossip, Kind::Pull, Kind::Pulled];
    let kind = kinds.get(usize::from(*kind)).copied()?;
    let [a, b, c, d, e, f] = *head;
    let target = usize::from(u16::from_le_bytes([e, f]));
    let claim = |chunk: &[u8]| {
        let [a, b, status, i, j, k, l, m, n] = *<&[u8; 9]>::try_from(chunk).ok()?;
        Some(Claim {
            member: usize::from(u16::from_le_bytes([a, b])),
            status: [Status::Alive, Status::Suspect, Status::Down].get(usize::from(status)).copied()?,
            incarnation: u32::from_le_bytes([i, j, k, l]),
            from: usize::from(u16::from_le_bytes([m, n])),
        })
    };
    let claims: Option<Vec<Claim>> = claims.chunks(9).map(claim).collect();
    let claims = claims?;
    let known = claims.iter().all(|c| c.member < nodes && c.incarnation < u32::MAX / 2);
    (target < nodes && known).then_some((kind, u32::from_le_bytes([a, b, c, d]), target, claims))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_come_back_as_they_were_written() {
        let mut bytes = vec![Kind::Ack as u8, 7, 0, 0, 0, 3, 0];
        put(&mut bytes, Claim { member: 2, status: Status::Suspect, incarnation: 9, from: 1 });
        let (kind, sequence, target, claims) = read(&bytes, 4).expect("sound");
        assert_eq!((kind, sequence, target), (Kind::Ack, 7, 3));
        assert_eq!((claims[0].member, claims[0].incarnation, claims[0].from), (2, 9, 1));
        assert!(read(&bytes, 2).is_none() && read(&bytes[..12], 4).is_none() && read(&[9; 7], 4).is_none());
    }
}
