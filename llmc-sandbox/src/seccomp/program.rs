//! From a table of system calls to a program for the kernel's classic BPF machine, see `seccomp(2)` and
//! `Documentation/networking/filter.rst` of the kernel.
//!
//! ```text
//! architecture   anything but our own kills the process
//! search         a binary search over ranges of numbers with one answer
//! rules          for calls whose arguments matter: tests, in order; the first rule that is met answers
//! ```
//!
//! The kernel runs the program for every call number when it is installed and for every filtered call later, so its
//! depth counts: some eight comparisons here, where a chain of all calls takes hundreds.

use std::collections::BTreeMap;

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};

/// The architecture as `seccomp_data` tells it: machine number of the ELF header, 64 bits, little-endian.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xC000_0000 | libc::EM_X86_64 as u32;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xC000_0000 | libc::EM_AARCH64 as u32;

/// Offsets in `seccomp_data`.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const ARGUMENTS: u32 = 16;

/// What the kernel is told to do: an action and its data, as in `SECCOMP_RET_ERRNO | EPERM`.
pub(super) type Answer = u32;

/// A test of one half of an argument: `word & mask == value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WordTest {
    /// Position of the argument, from 0.
    pub(super) argument: u8,
    /// Whether the upper 32 bits are looked at.
    pub(super) upper: bool,
    pub(super) mask: u32,
    pub(super) value: u32,
}

/// An answer, if all tests are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) tests: Vec<WordTest>,
    pub(super) answer: Answer,
}

/// Rules by the number of their system call; the first that is met counts, and `otherwise` when there is none.
pub(super) fn assemble(calls: &BTreeMap<u32, Vec<Rule>>, otherwise: Answer) -> Vec<sock_filter> {
    let mut blocks: Vec<Vec<sock_filter>> = Vec::new();
    let search = search(&ranges(calls, otherwise, &mut blocks));
    let mut starts = Vec::with_capacity(blocks.len());
    let mut end = search.len();
    for block in &blocks {
        starts.push(end);
        end += block.len();
    }
    let mut program = vec![
        load(ARCH),
        jump(BPF_JEQ, ARCHITECTURE, 1, 0),
        answer(libc::SECCOMP_RET_KILL_PROCESS),
        load(NUMBER),
    ];
    program.extend(search.iter().enumerate().map(|(place, step)| match step {
        Step::Do(instruction) => *instruction,
        Step::Block(block) => skip(starts[*block] - place - 1),
    }));
    program.extend(blocks.into_iter().flatten());
    program
}

/// What a range of numbers gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaf {
    Answer(Answer),
    Block(usize),
}

/// An instruction of the search, or a jump to a block that has no place yet.
enum Step {
    Do(sock_filter),
    Block(usize),
}

/// The first numbers of ranges with one leaf; calls whose arguments matter add a block.
fn ranges(
    calls: &BTreeMap<u32, Vec<Rule>>,
    otherwise: Answer,
    blocks: &mut Vec<Vec<sock_filter>>,
) -> Vec<(u32, Leaf)> {
    let mut ranges = vec![(0, Leaf::Answer(otherwise))];
    let mut add = |first: u32, leaf: Leaf| {
        if ranges.last().is_some_and(|(last, _)| *last == first) {
            ranges.pop();
        }
        if ranges.last().is_none_or(|(_, before)| *before != leaf) {
            ranges.push((first, leaf));
        }
    };
    for (&number, rules) in calls {
        let leaf = match rules.first() {
            None => Leaf::Answer(otherwise),
            Some(rule) if rule.tests.is_empty() => Leaf::Answer(rule.answer),
            Some(_) => {
                blocks.push(block(rules, otherwise));
                Leaf::Block(blocks.len() - 1)
            }
        };
        add(number, leaf);
        add(number + 1, Leaf::Answer(otherwise));
    }
    ranges
}

/// A binary search that ends at the leaf of the accumulator's range.
fn search(ranges: &[(u32, Leaf)]) -> Vec<Step> {
    if let [(_, leaf)] = ranges {
        return vec![match leaf {
            Leaf::Answer(what) => Step::Do(answer(*what)),
            Leaf::Block(block) => Step::Block(*block),
        }];
    }
    let (below, above) = ranges.split_at(ranges.len() / 2);
    let first_above = above[0].0;
    let (below, above) = (search(below), search(above));
    let mut steps = Vec::with_capacity(below.len() + above.len() + 2);
    match u8::try_from(below.len()) {
        Ok(distance) => steps.push(Step::Do(jump(BPF_JGE, first_above, distance, 0))),
        // Farther than a conditional jump reaches.
        Err(_) => {
            steps.push(Step::Do(jump(BPF_JGE, first_above, 0, 1)));
            steps.push(Step::Do(skip(below.len())));
        }
    }
    steps.extend(below);
    steps.extend(above);
    steps
}

/// Rules one after the other.
fn block(rules: &[Rule], otherwise: Answer) -> Vec<sock_filter> {
    let mut block = Vec::new();
    for rule in rules {
        let mut lines: Vec<sock_filter> = Vec::new();
        let mut exits = Vec::new();
        for test in &rule.tests {
            lines.push(load(ARGUMENTS + 8 * u32::from(test.argument) + if test.upper { 4 } else { 0 }));
            if test.mask != u32::MAX {
                lines.push(instruction(BPF_ALU | BPF_AND | BPF_K, test.mask));
            }
            exits.push(lines.len());
            lines.push(jump(BPF_JEQ, test.value, 0, 0));
        }
        lines.push(answer(rule.answer));
        let end = lines.len();
        for exit in exits {
            // A rule tests at most six arguments in two halves: its end is always within reach.
            lines[exit].jf = u8::try_from(end - exit - 1).unwrap_or(u8::MAX);
        }
        block.extend(lines);
    }
    block.push(answer(otherwise));
    block
}

fn load(offset: u32) -> sock_filter {
    instruction(BPF_LD | BPF_W | BPF_ABS, offset)
}

fn answer(answer: Answer) -> sock_filter {
    instruction(BPF_RET | BPF_K, answer)
}

fn skip(count: usize) -> sock_filter {
    // The kernel takes no program in which this could be too large: 4096 instructions at most.
    instruction(BPF_JMP | BPF_JA, u32::try_from(count).unwrap_or(u32::MAX))
}

fn jump(test: u32, value: u32, met: u8, not_met: u8) -> sock_filter {
    sock_filter { jt: met, jf: not_met, ..instruction(BPF_JMP | test | BPF_K, value) }
}

fn instruction(code: u32, value: u32) -> sock_filter {
    // All codes of classic BPF fit into one byte.
    sock_filter { code: code as u16, jt: 0, jf: 0, k: value }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const ALLOW: Answer = libc::SECCOMP_RET_ALLOW;
    const NO: Answer = libc::SECCOMP_RET_ERRNO | 1;
    const ODD: Answer = libc::SECCOMP_RET_ERRNO | 38;

    /// What the kernel would answer; panics where it would not take the program.
    pub(in super::super) fn run(program: &[sock_filter], arch: u32, number: u32, args: [u64; 6]) -> Answer {
        let (mut accumulator, mut place) = (0, 0);
        loop {
            let sock_filter { code, jt, jf, k } = program[place];
            place += 1;
            let to = |met: bool| usize::from(if met { jt } else { jf });
            match u32::from(code) {
                code if code == BPF_LD | BPF_W | BPF_ABS => accumulator = word(arch, number, args, k),
                code if code == BPF_ALU | BPF_AND | BPF_K => accumulator &= k,
                code if code == BPF_JMP | BPF_JA => place += k as usize,
                code if code == BPF_JMP | BPF_JEQ | BPF_K => place += to(accumulator == k),
                code if code == BPF_JMP | BPF_JGE | BPF_K => place += to(accumulator >= k),
                code if code == BPF_JMP | libc::BPF_JGT | BPF_K => place += to(accumulator > k),
                code if code == BPF_RET | BPF_K => return k,
                code => panic!("instruction {code:#x}"),
            }
        }
    }

    fn word(arch: u32, number: u32, args: [u64; 6], offset: u32) -> u32 {
        match offset {
            NUMBER => number,
            ARCH => arch,
            _ => {
                let (argument, half) = ((offset - ARGUMENTS) / 8, (offset - ARGUMENTS) % 8);
                (args[argument as usize] >> (8 * half)) as u32
            }
        }
    }

    pub(in super::super) fn here(program: &[sock_filter], number: u32, args: [u64; 6]) -> Answer {
        run(program, ARCHITECTURE, number, args)
    }

    fn is(argument: u8, value: u32) -> WordTest {
        WordTest { argument, upper: false, mask: u32::MAX, value }
    }

    fn always(answer: Answer) -> Vec<Rule> {
        vec![Rule { tests: Vec::new(), answer }]
    }

    #[test]
    fn every_number_gets_its_answer_and_neighbours_do_not() {
        // Gaps, runs and the ends of the range, so many that jumps are long.
        let calls: BTreeMap<u32, Vec<Rule>> =
            (0..900).filter(|number| number % 3 != 1).map(|number| (number, always(ALLOW))).collect();
        let program = assemble(&calls, NO);
        for number in 0..1000 {
            let expected = if calls.contains_key(&number) { ALLOW } else { NO };
            assert_eq!(here(&program, number, [0; 6]), expected, "{number}");
        }
        for number in [0x4000_0000, 0x4000_0003, u32::MAX] {
            assert_eq!(here(&program, number, [0; 6]), NO, "{number:#x}");
        }
    }

    #[test]
    fn the_first_rule_that_is_met_answers() {
        let rules = vec![
            Rule { tests: vec![is(0, 7), is(5, 9)], answer: ALLOW },
            Rule { tests: vec![WordTest { mask: 0xf0, ..is(1, 0x10) }], answer: ODD },
            Rule { tests: vec![is(2, 0), WordTest { upper: true, ..is(2, 0) }], answer: ALLOW },
        ];
        let program = assemble(&BTreeMap::from([(40, rules), (41, always(ALLOW))]), NO);
        for (args, expected) in [
            ([7, 0, 1, 0, 0, 9], ALLOW),
            ([7, 0, 1, 0, 0, 8], NO),
            ([7, 0x1f, 1, 0, 0, 8], ODD),
            ([0, 0, 0, 0, 0, 0], ALLOW),
            ([0, 0, 1 << 32, 0, 0, 0], NO),
            // The kernel ignores the upper half of an int.
            ([7 | 1 << 40, 0, 1, 0, 0, 9], ALLOW),
        ] {
            assert_eq!(here(&program, 40, args), expected, "{args:?}");
            assert_eq!(here(&program, 41, args), ALLOW);
            assert_eq!(here(&program, 39, args), NO);
        }
    }

    #[test]
    fn another_architecture_ends_the_process() {
        let program = assemble(&BTreeMap::from([(1, always(ALLOW))]), NO);
        for arch in [0, 0x4000_0003, ARCHITECTURE ^ 1] {
            assert_eq!(run(&program, arch, 1, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        }
    }
}
