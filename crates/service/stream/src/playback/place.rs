//! Where ranges lie in what is played, and whether there is anything in them.

use super::player::{Plan, Play, PlayError, Player};
use super::range::{Asked, Unit};
use ringpost_rtsp::header::{Range, RangeSpec};

impl Player {
    /// A range that waits to be played and comes to the point where `pause` starts, without what is behind that.
    pub fn cut(&self, waiting: &Play, pause: &Range) -> Option<Range> {
        let is_backwards = self.is_backwards(waiting);
        let read = |range| Asked::read(Some(range), &self.timeline, is_backwards).ok();
        let range = waiting.range?;
        let asked = read(&range)?;
        let start_ns = asked.start_ns?;
        let point_ns = match pause.spec {
            // Of what was recorded twice it is what is played first.
            RangeSpec::Clock { start, .. } => {
                self.timeline.origin?;
                self.timeline.next_at_clock(start_ns, start, is_backwards)?
            }
            _ => read(pause)?.start_ns?,
        };
        let is_in = match is_backwards {
            true => point_ns < start_ns && asked.end_ns.is_none_or(|end| point_ns >= end),
            false => point_ns > start_ns && asked.end_ns.is_none_or(|end| point_ns <= end),
        };
        let mut cut = asked.unit.range(&self.timeline, start_ns, Some(point_ns));
        if let (RangeSpec::Clock { start, .. }, RangeSpec::Clock { start: end, .. }) =
            (range.spec, pause.spec)
        {
            let end = Some(end);
            cut.spec = RangeSpec::Clock { start, end };
        }
        // By the clock it might end where it comes to that time again, or never.
        if read(&cut).is_none_or(|cut| cut.end_ns != Some(point_ns)) {
            cut = Unit::Npt.range(&self.timeline, start_ns, Some(point_ns));
        }
        is_in.then_some(cut)
    }

    /// Whether what is played comes to a point, or has passed it.
    pub(super) fn plays_to(&self, point_ns: i64) -> bool {
        let Plan { start_ns, end_ns, .. } = self.plan;
        match self.pace.is_backwards() {
            true => (end_ns.unwrap_or(0)..=start_ns).contains(&point_ns),
            false => {
                let end_ns = end_ns.or((!self.timeline.is_open).then(|| self.timeline.end_ns()));
                point_ns >= start_ns && end_ns.is_none_or(|end| point_ns <= end)
            }
        }
    }

    /// Where a range begins: the piece, and the position in it.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-11.3.8
    pub(super) fn place_of(
        &self,
        from_ns: i64,
        end_ns: Option<i64>,
        is_backwards: bool,
    ) -> Result<(usize, i64), PlayError> {
        let all_ns = self.timeline.end_ns();
        let late_ns = self.timeline.late_ns();
        let is_over = match is_backwards || self.timeline.is_open {
            true => from_ns > all_ns.saturating_add(late_ns),
            false => from_ns >= all_ns,
        };
        let from_ns = from_ns.min(all_ns - 1);
        let piece = self.timeline.piece_at(from_ns.max(0)).filter(|_| !is_over);
        let piece = piece.ok_or(PlayError::Empty)?;
        let of = &self.timeline.pieces[piece];
        // Backwards from within a gap is backwards from its beginning.
        let (piece, at_ns) = match is_backwards && from_ns < of.begin_ns {
            true if piece == 0 => return Err(PlayError::Empty),
            true => (piece - 1, self.timeline.pieces[piece - 1].end_ns - 1),
            false => (piece, from_ns.max(of.begin_ns)),
        };
        let is_empty = |end_ns| match is_backwards {
            true => at_ns <= end_ns,
            false => at_ns >= end_ns,
        };
        match end_ns.is_some_and(is_empty) {
            true => Err(PlayError::Empty),
            false => Ok((piece, at_ns)),
        }
    }

    /// Where it ends that is played: at the end that was asked for, or of all that there is. Gaps are passed over.
    //= https://www.rfc-editor.org/rfc/rfc2326#section-10.5
    pub(super) fn told_end(&self) -> Option<i64> {
        let all_ns = self.timeline.end_ns();
        match self.plan.end_ns {
            end_ns if self.plan.scale < 0.0 => Some(end_ns.unwrap_or(0).max(0)),
            end_ns if self.timeline.is_open => end_ns,
            end_ns => Some(end_ns.map_or(all_ns, |end| end.min(all_ns))),
        }
    }
}
