//! Dependencies between transactions, and cycles of them.

use std::collections::VecDeque;
use std::fmt;

/// Why a transaction must come before another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Dependency {
    /// The value before the other's.
    WriteWrite { key: String, value: u64, next: u64 },
    /// The last value that the other has read.
    WriteRead { key: String, value: u64 },
    /// It has not read this value of the other.
    ReadWrite { key: String, next: u64 },
    /// It had ended before the other began.
    RealTime,
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteWrite { key, value, next } => write!(f, "{value} is before {next} in {key}"),
            Self::WriteRead { key, value } => write!(f, "its {value} in {key} was read"),
            Self::ReadWrite { key, next } => write!(f, "it has not read {next} in {key}"),
            Self::RealTime => write!(f, "it had ended before the other began"),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) dependency: Dependency,
}

/// Edges from one transaction to the next, and at last to the first.
pub(super) type Cycle = Vec<Edge>;

/// Transactions, and moments on the clock: the end of each transaction, from which an edge leads to the next one. So
/// the order of time needs an edge or two of each transaction and not of each pair.
#[derive(Debug)]
pub(super) struct Graph {
    /// Nodes from this number on are moments.
    transactions: usize,
    edges: Vec<Vec<(usize, Dependency)>>,
}

/// From how many transactions the shortest cycle is searched.
const STARTS_MAX: usize = 64;

impl Graph {
    pub(super) fn new(transactions: usize) -> Self {
        Self { transactions, edges: vec![Vec::new(); transactions] }
    }

    pub(super) fn add(&mut self, from: usize, to: usize, dependency: Dependency) {
        if from != to {
            self.edges[from].push((to, dependency));
        }
    }

    /// Adds a moment and returns its node.
    pub(super) fn add_moment(&mut self) -> usize {
        self.edges.push(Vec::new());
        self.edges.len() - 1
    }

    /// A short cycle of edges with these dependencies.
    pub(super) fn cycle(&self, of: impl Fn(&Dependency) -> bool) -> Option<Cycle> {
        let components = self.components(&of);
        let mut sizes = vec![0; self.edges.len()];
        components.iter().for_each(|component| sizes[*component] += 1);
        let starts = (0..self.transactions).filter(|node| sizes[components[*node]] > 1);
        let cycles = starts.take(STARTS_MAX).filter_map(|start| {
            self.path_back(start, |to, dependency| components[to] == components[start] && of(dependency))
        });
        cycles.map(|path| self.without_moments(&path)).min_by_key(Vec::len)
    }

    /// The strongly connected component of each node (Tarjan 1972), without recursion.
    fn components(&self, of: &impl Fn(&Dependency) -> bool) -> Vec<usize> {
        const NEW: usize = usize::MAX;
        let count = self.edges.len();
        let (mut index, mut low, mut component) = (vec![NEW; count], vec![0; count], vec![NEW; count]);
        let (mut next_index, mut next_component) = (0, 0);
        let (mut open, mut path) = (Vec::new(), Vec::new());
        for root in 0..count {
            if index[root] != NEW {
                continue;
            }
            path.push((root, 0));
            while let Some((node, edge)) = path.pop() {
                if edge == 0 {
                    (index[node], low[node]) = (next_index, next_index);
                    next_index += 1;
                    open.push(node);
                } else {
                    // The child that the path has come back from.
                    let (child, _) = self.edges[node][edge - 1];
                    if component[child] == NEW {
                        low[node] = low[node].min(low[child]);
                    }
                }
                let rest = self.edges[node].iter().enumerate().skip(edge).filter(|(_, (_, why))| of(why));
                let mut new = None;
                for (at, (to, _)) in rest {
                    if index[*to] == NEW {
                        new = Some((at, *to));
                        break;
                    }
                    if component[*to] == NEW {
                        low[node] = low[node].min(index[*to]);
                    }
                }
                if let Some((at, to)) = new {
                    path.push((node, at + 1));
                    path.push((to, 0));
                } else if low[node] == index[node] {
                    while let Some(member) = open.pop() {
                        component[member] = next_component;
                        if member == node {
                            break;
                        }
                    }
                    next_component += 1;
                }
            }
        }
        component
    }

    /// The path with the fewest transactions from a node back to itself. Edges between moments cost nothing.
    fn path_back(&self, start: usize, follows: impl Fn(usize, &Dependency) -> bool) -> Option<Vec<Edge>> {
        let mut came_by: Vec<Option<(usize, usize)>> = vec![None; self.edges.len()];
        let mut is_done = vec![false; self.edges.len()];
        let mut queue = VecDeque::from([start]);
        while let Some(node) = queue.pop_front() {
            if std::mem::replace(&mut is_done[node], true) {
                continue;
            }
            for (at, (to, dependency)) in self.edges[node].iter().enumerate() {
                if is_done[*to] && *to != start || !follows(*to, dependency) {
                    continue;
                }
                if came_by[*to].is_none() || *to >= self.transactions && node >= self.transactions {
                    came_by[*to] = Some((node, at));
                }
                if *to == start {
                    return Some(self.path(start, &came_by));
                }
                match *to >= self.transactions && node >= self.transactions {
                    true => queue.push_front(*to),
                    false => queue.push_back(*to),
                }
            }
        }
        None
    }

    fn path(&self, start: usize, came_by: &[Option<(usize, usize)>]) -> Vec<Edge> {
        let (mut path, mut to) = (Vec::new(), start);
        while let Some((from, at)) = came_by[to] {
            path.push(Edge { from, to, dependency: self.edges[from][at].1.clone() });
            to = from;
            if from == start {
                break;
            }
        }
        path.reverse();
        path
    }

    /// One edge in place of those over moments.
    fn without_moments(&self, path: &[Edge]) -> Cycle {
        let mut cycle = Cycle::new();
        let mut from = None;
        for edge in path {
            let start = from.take().unwrap_or(edge.from);
            match edge.to >= self.transactions {
                true => from = Some(start),
                false => cycle.push(Edge { from: start, ..edge.clone() }),
            }
        }
        cycle
    }
}
