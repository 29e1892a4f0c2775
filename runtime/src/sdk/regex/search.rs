//! Searches a text for a program, with limits that are polled while the search progresses.
//!
//! The engines of `regex-automata` cannot be interrupted, so their automata are driven here: a lazy DFA forwards to the
//! end of a match, one backwards to its start. The positions of groups, and word boundaries in text that is not ASCII,
//! need a simulation of the NFA (Pike), which takes time proportional to the text and to the program.

use std::ops::Range;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson::State;
use regex_automata::util::primitives::StateID;
use regex_automata::{Anchored, Input};

use super::super::call::{Call, Outcome};
use super::program::{Lease, Program};
use crate::memory;

/// The number of bytes between two charges of a DFA.
const BLOCK: usize = 1024;

/// A group that did not take part in the match.
const NONE: u32 = u32::MAX;

/// A search of one text, match by match.
pub(super) struct Search<'t, 'c, 'a> {
    call: &'t Call<'c, 'a>,
    lease: Lease,
    text: &'t str,
    /// Where the next match starts at the earliest.
    at: usize,
    last_end: Option<usize>,
    /// Whether the DFA met text that it cannot search.
    needs_simulation: bool,
    simulation: Option<Box<Simulation>>,
}

/// The result of a DFA.
enum Reached {
    Position(Option<usize>),
    /// A word boundary next to text that is not ASCII.
    Quit,
}

impl<'t, 'c, 'a> Search<'t, 'c, 'a> {
    pub(super) fn new(call: &'t Call<'c, 'a>, lease: Lease, text: &'t str) -> Self {
        Self { call, lease, text, at: 0, last_end: None, needs_simulation: false, simulation: None }
    }

    pub(super) fn program(&self) -> &Program {
        self.lease.program()
    }

    /// Whether there is a match.
    pub(super) fn is_match(&mut self) -> Outcome<bool> {
        match self.forward(0, true)? {
            Reached::Position(None) => Ok(false),
            Reached::Position(Some(end)) if self.text.is_char_boundary(end) => Ok(true),
            _ => Ok(self.find_from(0)?.is_some()),
        }
    }

    /// The next match. An empty one does not follow another match directly.
    pub(super) fn next(&mut self) -> Outcome<Option<Range<usize>>> {
        while self.at <= self.text.len() {
            let Some(found) = self.find_from(self.at)? else { break };
            if found.is_empty() && self.last_end == Some(found.end) {
                self.at = self.after(found.end);
                continue;
            }
            self.at = found.end;
            self.last_end = Some(found.end);
            return Ok(Some(found));
        }
        self.at = self.text.len() + 1;
        Ok(None)
    }

    /// The position of the character after the one at `position`.
    fn after(&self, position: usize) -> usize {
        self.text.ceil_char_boundary((position + 1).min(self.text.len())).max(position + 1)
    }

    /// The first match from a position on.
    fn find_from(&mut self, start: usize) -> Outcome<Option<Range<usize>>> {
        let mut start = start;
        while !self.needs_simulation && self.lease.program().reverse.is_some() {
            let Reached::Position(end) = self.forward(start, false)? else {
                self.needs_simulation = true;
                break;
            };
            let Some(end) = end else { return Ok(None) };
            let Reached::Position(Some(begin)) = self.backward(start, end)? else {
                self.needs_simulation = true;
                break;
            };
            if begin < end || self.text.is_char_boundary(end) {
                return Ok(Some(begin..end));
            }
            // Nothing, within a character.
            start = self.text.ceil_char_boundary(end);
        }
        let slots = self.simulate(start..self.text.len(), false, 2)?;
        Ok(slots.and_then(|slots| group(&slots, 0)))
    }

    /// The groups of a match; the first one is the whole match.
    pub(super) fn groups(&mut self, found: &Range<usize>) -> Outcome<Vec<Option<Range<usize>>>> {
        let count = self.program().nfa.group_info().all_group_len();
        let slots = self.simulate(found.clone(), true, 2 * count)?;
        let slots = slots.unwrap_or_default();
        Ok((0..count).map(|index| group(&slots, index)).collect())
    }

    /// The end of the first match from `start` on; with `earliest` where it is certain that there is one.
    fn forward(&mut self, start: usize, earliest: bool) -> Outcome<Reached> {
        let bytes = self.text.as_bytes();
        let (program, caches) = self.lease.parts();
        let mut driver = Driver {
            call: self.call,
            dfa: &program.forward,
            cache: &mut caches.forward,
            transition_steps: program.transition_steps,
        };
        let input = Input::new(bytes).range(start..);
        let Some(mut state) = driver.start(&input, false)? else { return Ok(Reached::Quit) };
        let mut end = None;
        for (at, byte) in bytes.iter().enumerate().skip(start) {
            if at.is_multiple_of(BLOCK) {
                self.call.charge_bytes(BLOCK)?;
            }
            state = driver.next(state, *byte)?;
            if state.is_tagged() {
                if state.is_match() {
                    end = Some(at);
                    if earliest {
                        return Ok(Reached::Position(end));
                    }
                } else if state.is_dead() {
                    return Ok(Reached::Position(end));
                } else if state.is_quit() {
                    return Ok(Reached::Quit);
                }
            }
        }
        if driver.matches_at_end(state)? {
            end = Some(bytes.len());
        }
        Ok(Reached::Position(end))
    }

    /// The start of the match that ends at `end`.
    fn backward(&mut self, start: usize, end: usize) -> Outcome<Reached> {
        let bytes = self.text.as_bytes();
        let (program, caches) = self.lease.parts();
        let (Some(dfa), Some(cache)) = (&program.reverse, &mut caches.reverse) else {
            return Ok(Reached::Quit);
        };
        let mut driver = Driver { call: self.call, dfa, cache, transition_steps: program.transition_steps };
        let input = Input::new(bytes).range(start..end).anchored(Anchored::Yes);
        let Some(mut state) = driver.start(&input, true)? else { return Ok(Reached::Quit) };
        let mut begin = None;
        for at in (start..end).rev() {
            if at.is_multiple_of(BLOCK) {
                self.call.charge_bytes(BLOCK)?;
            }
            state = driver.next(state, bytes[at])?;
            if state.is_match() {
                begin = Some(at + 1);
            } else if state.is_dead() {
                return Ok(Reached::Position(begin));
            } else if state.is_quit() {
                return Ok(Reached::Quit);
            }
        }
        let is_match = match start.checked_sub(1) {
            Some(before) => {
                state = driver.next(state, bytes[before])?;
                if state.is_quit() {
                    return Ok(Reached::Quit);
                }
                state.is_match()
            }
            None => driver.matches_at_end(state)?,
        };
        Ok(Reached::Position(if is_match { Some(start) } else { begin }))
    }

    /// Simulates the NFA within a range. The result has the first `count` slots of the match: two for each group.
    fn simulate(&mut self, range: Range<usize>, anchored: bool, count: usize) -> Outcome<Option<Vec<u32>>> {
        let states = self.program().nfa.states().len();
        let mut simulation = match self.simulation.take() {
            Some(simulation) if simulation.slots.len() == count => simulation,
            _ => {
                self.call.reserve(Simulation::size(states, count))?;
                Box::new(Simulation::new(states, count))
            }
        };
        let found = simulation.run(self.call, self.program(), self.text, range, anchored);
        self.simulation = Some(simulation);
        found
    }
}

/// The range of a group.
fn group(slots: &[u32], index: usize) -> Option<Range<usize>> {
    match (slots.get(2 * index), slots.get(2 * index + 1)) {
        (Some(&begin), Some(&end)) if begin != NONE && end != NONE => Some(begin as usize..end as usize),
        _ => None,
    }
}

/// Takes the transitions of a lazy DFA. Those that are not in its cache are computed, which takes time proportional to
/// the program.
struct Driver<'t, 'c, 'a> {
    call: &'t Call<'c, 'a>,
    dfa: &'t DFA,
    cache: &'t mut Cache,
    transition_steps: usize,
}

impl Driver<'_, '_, '_> {
    /// The state at the start; `None` if the DFA cannot search from there.
    fn start(&mut self, input: &Input<'_>, reverse: bool) -> Outcome<Option<LazyStateID>> {
        self.call.charge(self.transition_steps)?;
        let state = memory::uncounted(|| match reverse {
            true => self.dfa.start_state_reverse(self.cache, input),
            false => self.dfa.start_state_forward(self.cache, input),
        });
        Ok(state.ok())
    }

    #[inline]
    fn next(&mut self, state: LazyStateID, byte: u8) -> Outcome<LazyStateID> {
        if !state.is_tagged() {
            let next = self.dfa.next_state_untagged(self.cache, state, byte);
            if !next.is_unknown() {
                return Ok(next);
            }
        }
        self.call.charge(self.transition_steps)?;
        match memory::uncounted(|| self.dfa.next_state(self.cache, state, byte)) {
            Ok(next) => Ok(next),
            // A cache without a minimum of work per clearing is never given up.
            Err(_) => self.call.fail_shared("the search failed"),
        }
    }

    /// Whether the state is a match at the end of the text.
    fn matches_at_end(&mut self, state: LazyStateID) -> Outcome<bool> {
        self.call.charge(self.transition_steps)?;
        match memory::uncounted(|| self.dfa.next_eoi_state(self.cache, state)) {
            Ok(next) => Ok(next.is_match()),
            Err(_) => self.call.fail_shared("the search failed"),
        }
    }
}

/// The simulation of an NFA: all its states at a position, in order of preference, each with the slots of its thread.
struct Simulation {
    current: Threads,
    next: Threads,
    stack: Vec<Frame>,
    /// The slots of the thread that is followed.
    slots: Vec<u32>,
}

struct Threads {
    states: Vec<StateID>,
    /// For each state, the generation in which it was added.
    added: Vec<u32>,
    generation: u32,
    /// The slots of each state.
    slots: Vec<u32>,
}

enum Frame {
    Follow(StateID),
    Restore { slot: usize, position: u32 },
}

impl Threads {
    fn new(states: usize, count: usize) -> Self {
        Self { states: Vec::new(), added: vec![0; states], generation: 1, slots: vec![NONE; states * count] }
    }

    fn clear(&mut self) {
        self.states.clear();
        self.generation = self.generation.checked_add(1).unwrap_or_else(|| {
            self.added.fill(0);
            1
        });
    }

    /// Adds a state, unless it is there.
    fn add(&mut self, state: StateID) -> bool {
        let is_new = self.added[state.as_usize()] != self.generation;
        if is_new {
            self.added[state.as_usize()] = self.generation;
            self.states.push(state);
        }
        is_new
    }

    fn slots_of(&mut self, state: StateID, count: usize) -> &mut [u32] {
        let start = state.as_usize() * count;
        &mut self.slots[start..start + count]
    }
}

impl Simulation {
    fn size(states: usize, count: usize) -> usize {
        (2 * states * (count + 2) + 4 * states) * size_of::<u32>()
    }

    fn new(states: usize, count: usize) -> Self {
        let threads = || Threads::new(states, count);
        Self { current: threads(), next: threads(), stack: Vec::new(), slots: vec![NONE; count] }
    }

    fn run(
        &mut self,
        call: &Call<'_, '_>,
        program: &Program,
        text: &str,
        range: Range<usize>,
        anchored: bool,
    ) -> Outcome<Option<Vec<u32>>> {
        let (nfa, bytes, count) = (&program.nfa, text.as_bytes(), self.slots.len());
        self.current.clear();
        let mut found = None;
        for at in range.clone().chain([range.end]) {
            let begins = found.is_none() && (at == range.start || !anchored);
            if self.current.states.is_empty() && !begins {
                break;
            }
            call.charge(1)?;
            if begins && text.is_char_boundary(at) {
                self.slots.fill(NONE);
                follow(
                    call,
                    program,
                    bytes,
                    at,
                    nfa.start_anchored(),
                    &mut self.current,
                    &mut self.stack,
                    &mut self.slots,
                )?;
            }
            self.next.clear();
            for index in 0..self.current.states.len() {
                let state = self.current.states[index];
                let target = match (nfa.state(state), bytes.get(at)) {
                    (State::Match { .. }, _) => {
                        found = Some(self.current.slots_of(state, count).to_vec());
                        // The threads after it are less preferred.
                        break;
                    }
                    (_, None) => continue,
                    (_, Some(_)) if at == range.end => continue,
                    (State::ByteRange { trans }, Some(byte)) => {
                        trans.matches_byte(*byte).then_some(trans.next)
                    }
                    (State::Sparse(sparse), Some(byte)) => sparse.matches_byte(*byte),
                    (State::Dense(dense), Some(byte)) => dense.matches_byte(*byte),
                    _ => continue,
                };
                if let Some(target) = target {
                    self.slots.copy_from_slice(self.current.slots_of(state, count));
                    follow(
                        call,
                        program,
                        bytes,
                        at + 1,
                        target,
                        &mut self.next,
                        &mut self.stack,
                        &mut self.slots,
                    )?;
                }
            }
            std::mem::swap(&mut self.current, &mut self.next);
        }
        Ok(found)
    }
}

/// Adds the states that are reached from `state` without a character, in order of preference.
#[expect(clippy::too_many_arguments, reason = "the parts of the simulation that one borrow would lock")]
fn follow(
    call: &Call<'_, '_>,
    program: &Program,
    bytes: &[u8],
    at: usize,
    state: StateID,
    into: &mut Threads,
    stack: &mut Vec<Frame>,
    slots: &mut [u32],
) -> Outcome<()> {
    let nfa = &program.nfa;
    // A text has at most 32 MiB.
    let position = at as u32;
    stack.clear();
    stack.push(Frame::Follow(state));
    while let Some(frame) = stack.pop() {
        let mut state = match frame {
            Frame::Restore { slot, position } => {
                slots[slot] = position;
                continue;
            }
            Frame::Follow(state) => state,
        };
        loop {
            call.charge(1 + slots.len() / 16)?;
            if !into.add(state) {
                break;
            }
            state = match nfa.state(state) {
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Match { .. } => {
                    into.slots_of(state, slots.len()).copy_from_slice(slots);
                    break;
                }
                State::Fail => break,
                State::Look { look, next } => {
                    if !nfa.look_matcher().matches(*look, bytes, at) {
                        break;
                    }
                    *next
                }
                State::Union { alternates } => {
                    let Some((first, others)) = alternates.split_first() else { break };
                    call.charge(others.len())?;
                    stack.extend(others.iter().rev().map(|other| Frame::Follow(*other)));
                    *first
                }
                State::BinaryUnion { alt1, alt2 } => {
                    stack.push(Frame::Follow(*alt2));
                    *alt1
                }
                State::Capture { next, slot, .. } => {
                    if let Some(held) = slots.get_mut(slot.as_usize()) {
                        stack.push(Frame::Restore { slot: slot.as_usize(), position: *held });
                        *held = position;
                    }
                    *next
                }
            };
        }
    }
    Ok(())
}
