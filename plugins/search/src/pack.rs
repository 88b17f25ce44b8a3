//! The best of what was found within a token budget.
//!
//! Results are chosen by maximal marginal relevance (Carbonell and Goldstein, SIGIR 1998): a chunk that says what a better
//! one said already comes later, and one with the same words not at all. A chunk that does not fit is cut to the lines
//! around its best match; lines stay whole.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::query::Query;
use crate::rank::Hit;
use crate::texts::Texts;
use crate::words::identifiers;

/// How much being different counts beside being good.
const DIVERSITY: f64 = 0.25;
/// More alike than this is the same.
const SAME: f64 = 0.95;
/// A part of a chunk smaller than this is not worth showing.
const MIN_LINES: usize = 3;

/// How many lines a part grows by, one try after the other: what it costs is counted anew each time.
const STEPS: [usize; 6] = [8, 8, 4, 2, 1, 1];

/// A piece of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) hit: Hit,
    pub(crate) first_line: u32,
    pub(crate) last_line: u32,
    pub(crate) text: String,
}

/// A chunk with its lines.
struct Candidate {
    hit: Hit,
    lines: Vec<String>,
    words: HashSet<u64>,
    /// How alike it is to the chosen piece that is most like it.
    likeness: f64,
}

/// Enough to choose so many from; what comes later would be read for nothing.
pub(crate) fn candidates(limit: usize) -> usize {
    limit * 2 + 5
}

/// Chooses at most `limit` pieces. `cost` tells the tokens of one; together they have at most `budget`. Returns how many
/// candidates were left out, too.
pub(crate) fn pack(
    hits: Vec<Hit>,
    query: &Query,
    texts: &mut Texts<'_>,
    limit: usize,
    budget: usize,
    cost: impl Fn(&Piece) -> usize,
) -> (Vec<Piece>, usize) {
    let needles = query.needles();
    let mut candidates: Vec<Candidate> = Vec::new();
    for hit in hits.into_iter().take(self::candidates(limit)) {
        let Some(text) = texts.chunk(&hit.row) else { continue };
        let lines = text.part(hit.row.first_line, hit.row.last_line);
        let lines: Vec<String> = lines.lines().map(str::to_owned).collect();
        let words = words(&lines);
        candidates.push(Candidate { hit, lines, words, likeness: 0.0 });
    }
    let top = candidates.first().map_or(1.0, |best| best.hit.score);
    let mut pieces: Vec<Piece> = Vec::new();
    let (mut left, mut skipped) = (budget, 0);
    while pieces.len() < limit && !candidates.is_empty() {
        let worth = |candidate: &Candidate| candidate.hit.score / top - DIVERSITY * candidate.likeness;
        let worths: Vec<f64> = candidates.iter().map(worth).collect();
        // Of equals the first one, which was ranked higher.
        let best = (0..worths.len()).rev().max_by(|one, other| worths[*one].total_cmp(&worths[*other]));
        let Some(best) = best else { break };
        let candidate = candidates.remove(best);
        if candidate.likeness >= SAME {
            continue;
        }
        // The better half of the budget is for those that come first.
        let share = (left / (limit - pieces.len())).max(left / 4);
        match fitting(&candidate, &needles, share, &cost)
            .or_else(|| fitting(&candidate, &needles, left, &cost))
        {
            Some(piece) => {
                left -= cost(&piece);
                for other in &mut candidates {
                    other.likeness = other.likeness.max(jaccard(&candidate.words, &other.words));
                }
                pieces.push(piece);
            }
            None => skipped += 1,
        }
    }
    (pieces, skipped + candidates.len())
}

/// The chunk, or the lines around its best match that fit.
fn fitting(
    candidate: &Candidate,
    needles: &[String],
    budget: usize,
    cost: &impl Fn(&Piece) -> usize,
) -> Option<Piece> {
    let piece = |from: usize, to: usize| {
        let line = |index: usize| candidate.hit.row.first_line + u32::try_from(index).unwrap_or(0);
        Piece {
            hit: candidate.hit.clone(),
            first_line: line(from),
            last_line: line(to) - 1,
            text: candidate.lines[from..to].join("\n"),
        }
    };
    let count = candidate.lines.len();
    if count == 0 {
        return None;
    }
    let whole = piece(0, count);
    if cost(&whole) <= budget {
        return Some(whole);
    }
    let anchor = best_line(&candidate.lines, needles);
    let least = MIN_LINES.min(count);
    let mut from = anchor.saturating_sub(1).min(count - least);
    let mut to = from + least;
    let mut fits = Some(piece(from, to)).filter(|piece| cost(piece) <= budget)?;
    // More of what follows than of what goes before, in steps that get smaller.
    for step in STEPS {
        for (more_from, more_to) in [(0, 2 * step), (step, 0)] {
            let (next_from, next_to) = (from.saturating_sub(more_from), (to + more_to).min(count));
            if (next_from, next_to) == (from, to) {
                continue;
            }
            let larger = piece(next_from, next_to);
            if cost(&larger) <= budget {
                (from, to, fits) = (next_from, next_to, larger);
            }
        }
    }
    Some(fits)
}

/// The line with the most needles in it.
fn best_line(lines: &[String], needles: &[String]) -> usize {
    let count = |line: &String| {
        let line = line.to_lowercase();
        needles.iter().filter(|needle| line.contains(needle.as_str())).count()
    };
    let counts: Vec<usize> = lines.iter().map(count).collect();
    (0..counts.len()).rev().max_by_key(|index| counts[*index]).unwrap_or(0)
}

fn words(lines: &[String]) -> HashSet<u64> {
    let mut words = HashSet::new();
    for line in lines {
        identifiers(line, |word| {
            let mut hasher = DefaultHasher::new();
            word.hash(&mut hasher);
            words.insert(hasher.finish());
        });
    }
    words
}

fn jaccard(one: &HashSet<u64>, other: &HashSet<u64>) -> f64 {
    let both = one.intersection(other).count();
    let all = one.len() + other.len() - both;
    if all == 0 { 1.0 } else { both as f64 / all as f64 }
}
