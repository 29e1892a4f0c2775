//! Variables that closures capture, and the cycles that come of them.
//!
//! Rhai moves a captured variable into a shared cell, which the closure then holds. A closure that is put into a variable that it
//! captured makes a cycle (`let f = || list; list += f`), and reference counts never free a cycle. So the runtime makes the cells
//! itself, remembers them for as long as the run goes on, and empties those that are left when it is over.
//!
//! Caught errors are looked for in the same way, since SDK 1.3: Rhai has its own words for them, and what a script reads of them is
//! put into ours first ([`crate::caught::retell`]).
//!
//! Rhai asks the engine's variable resolver about a variable before it moves it into a cell (`Stmt::Share`), and before every
//! ordinary read too, which must not share anything. The two are told apart by where the name stands in memory: without an
//! interner of strings, each place in a script has its own. Constants are left to Rhai: what is in their cells never changes, so
//! no cycle consists of them alone.

use std::sync::{Arc, PoisonError, RwLock, TryLockError, Weak};

use rhai::{AST, ASTNode, Dynamic, Expr, Scope, Stmt};

use crate::run_context;

/// A cell that closures and the scope of a run share.
type Cell = RwLock<Dynamic>;

/// How many cells are remembered before those that are gone are looked for the first time.
const CELLS_UNSORTED: usize = 256;

/// The places in a script where a variable is captured, and where one is read that holds what was caught.
#[derive(Clone, Default)]
pub(crate) struct Captures {
    /// Where those names stand, in order; `None`: there are none.
    places: Option<Arc<[(usize, Place)]>>,
    /// A bit for each of them, so that most reads need not look for theirs.
    pub(crate) mask: u64,
}

/// What a name stands for at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// A variable is moved into a cell there (`Stmt::Share`).
    Captured,
    /// What a `catch` has caught is read there.
    Caught,
}

impl Captures {
    /// Those of a script; `with_caught`: with those where what was caught is read.
    pub(crate) fn of(ast: &AST, with_caught: bool) -> Self {
        let mut places = Vec::new();
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Share(captured))) => {
                    places.extend(captured.iter().map(|(name, _)| (place(&name.name), Place::Captured)));
                }
                Some(ASTNode::Expr(Expr::Variable(variable, ..)))
                    if with_caught && path.iter().any(|around| catches(around, &variable.1)) =>
                {
                    places.push((place(&variable.1), Place::Caught));
                }
                _ => {}
            }
            true
        });
        places.sort_unstable();
        let mask = places.iter().fold(0, |mask, (place, _)| mask | bit(*place));
        Self { places: (!places.is_empty()).then(|| places.into()), mask }
    }

    /// What `name` stands for, where it is anything.
    pub(crate) fn at(&self, name: &str) -> Option<Place> {
        let places = self.places.as_ref()?;
        let found = places.binary_search_by_key(&place(name), |(place, _)| *place).ok()?;
        places.get(found).map(|(_, what)| *what)
    }
}

/// Whether a statement around a variable of that name catches into one.
fn catches(around: &ASTNode<'_>, name: &str) -> bool {
    match around {
        ASTNode::Stmt(Stmt::TryCatch(parts, _)) => {
            matches!(&parts.expr, Expr::Variable(caught, ..) if caught.1 == name)
        }
        _ => false,
    }
}

/// Whether a variable may be captured where `name` stands, by the `mask` of the script's captures.
pub(crate) fn is_in_mask(mask: u64, name: &str) -> bool {
    mask & bit(place(name)) != 0
}

fn place(name: &str) -> usize {
    name.as_ptr().addr()
}

fn bit(place: usize) -> u64 {
    // Blocks are aligned to 16 bytes, so that the lowest bits say nothing.
    1 << ((place >> 4 ^ place >> 10) & 63)
}

/// Moves a variable into a cell, where Rhai is about to do the same.
pub(crate) fn share(name: &str, scope: &mut Scope<'_>) {
    let Some(variable) = scope.get_mut(name) else { return };
    if !variable.is_shared() {
        let cell: Arc<Cell> = Arc::new(RwLock::new(variable.take()));
        run_context::remember_cell(Arc::downgrade(&cell));
        *variable = cell.into();
    }
}

/// The cells of a run.
pub(crate) struct Cells {
    made: Vec<Weak<Cell>>,
    /// How many there are when those that are gone are forgotten.
    sort_at: usize,
}

impl Cells {
    pub(crate) const fn new() -> Self {
        Self { made: Vec::new(), sort_at: CELLS_UNSORTED }
    }

    pub(crate) fn remember(&mut self, cell: Weak<Cell>) {
        if self.made.len() >= self.sort_at {
            // A cell that is gone holds a block of memory until it is forgotten, which counts for the script.
            self.made.retain(|cell| cell.strong_count() > 0);
            self.sort_at = self.made.len() + (self.made.len() / 4).max(CELLS_UNSORTED);
        }
        self.made.push(cell);
    }

    /// Empties the cells that are left. Each is emptied before anything of it is dropped: a long chain of closures that hold one
    /// another would else be dropped by recursion.
    pub(crate) fn empty(self) {
        let contents: Vec<Dynamic> = self.made.iter().filter_map(|cell| take(&*cell.upgrade()?)).collect();
        drop(contents);
    }
}

/// What is in a cell; `None` where it is being used, which nothing is when a run is over.
fn take(cell: &Cell) -> Option<Dynamic> {
    match cell.try_write() {
        Ok(mut content) => Some(content.take()),
        Err(TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned).take()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Empties the cells of the current run when it is dropped.
pub(crate) struct EmptyCells;

impl Drop for EmptyCells {
    fn drop(&mut self) {
        if let Some(cells) = run_context::take_cells() {
            cells.empty();
        }
    }
}
