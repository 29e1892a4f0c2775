//! Variables that closures capture, and the reference cycles they can create.
//!
//! Rhai moves a captured variable into a shared cell, which the closure then holds. A closure stored in a variable
//! that it captured creates a cycle (`let f = || list; list += f`), which reference counting never frees. So the
//! runtime creates the cells itself, records them during the execution, and clears the remaining ones at its end.
//!
//! Caught errors are found in the same way, since SDK 1.3: Rhai's messages are translated before a script reads them
//! ([`crate::caught_error::translate`]).
//!
//! Rhai calls the engine's variable resolver before it moves a variable into a cell (`Stmt::Share`), but also before
//! every ordinary read, which must not share the variable. The address of the name distinguishes the two: without a
//! string interner, each use in a script has its own. Constants are left to Rhai: their cells never change, so a
//! cycle never consists of constants only.

use std::sync::{Arc, PoisonError, RwLock, TryLockError, Weak};

use rhai::{AST, ASTNode, Dynamic, Expr, Scope, Stmt};

use crate::run_context;

/// A cell shared by closures and the scope of an execution.
type Cell = RwLock<Dynamic>;

/// The number of recorded cells before dropped ones are removed for the first time.
const PRUNE_MIN: usize = 256;

/// The uses in a script where a variable is captured or a caught error is read.
#[derive(Clone, Default)]
pub(crate) struct Captures {
    /// The addresses of those names, sorted; `None` if there are none.
    uses: Option<Arc<[(usize, VariableUse)]>>,
    /// One bit per address, so that most reads need no lookup.
    pub(crate) mask: u64,
}

/// How a script uses a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum VariableUse {
    /// The variable is moved into a cell (`Stmt::Share`).
    Captured,
    /// The error of a `catch` is read.
    Caught,
}

impl Captures {
    /// Finds the uses in a script; `with_caught` includes reads of caught errors.
    pub(crate) fn of(ast: &AST, with_caught: bool) -> Self {
        let mut uses = Vec::new();
        ast.walk(&mut |path: &[ASTNode<'_>]| {
            match path.last() {
                Some(ASTNode::Stmt(Stmt::Share(captured))) => {
                    uses.extend(
                        captured.iter().map(|(name, _)| (address(&name.name), VariableUse::Captured)),
                    );
                }
                Some(ASTNode::Expr(Expr::Variable(variable, ..)))
                    if with_caught && path.iter().any(|outer| catches(outer, &variable.1)) =>
                {
                    uses.push((address(&variable.1), VariableUse::Caught));
                }
                _ => {}
            }
            true
        });
        uses.sort_unstable();
        let mask = uses.iter().fold(0, |mask, (address, _)| mask | bit(*address));
        Self { uses: (!uses.is_empty()).then(|| uses.into()), mask }
    }

    /// The use at the address of `name`, if there is one.
    pub(crate) fn use_at(&self, name: &str) -> Option<VariableUse> {
        let uses = self.uses.as_ref()?;
        let found = uses.binary_search_by_key(&address(name), |(address, _)| *address).ok()?;
        uses.get(found).map(|(_, what)| *what)
    }
}

/// Whether a statement catches its error into the variable `name`.
fn catches(outer: &ASTNode<'_>, name: &str) -> bool {
    match outer {
        ASTNode::Stmt(Stmt::TryCatch(parts, _)) => {
            matches!(&parts.expr, Expr::Variable(caught, ..) if caught.1 == name)
        }
        _ => false,
    }
}

/// Whether `name` can be a captured variable, by the `mask` of the script's captures.
pub(crate) fn is_in_mask(mask: u64, name: &str) -> bool {
    mask & bit(address(name)) != 0
}

fn address(name: &str) -> usize {
    name.as_ptr().addr()
}

fn bit(address: usize) -> u64 {
    // Allocations are aligned to 16 bytes, so the lowest bits carry no information.
    1 << ((address >> 4 ^ address >> 10) & 63)
}

/// Moves a variable into a cell, just before Rhai would.
pub(crate) fn share(name: &str, scope: &mut Scope<'_>) {
    let Some(variable) = scope.get_mut(name) else { return };
    if !variable.is_shared() {
        let cell: Arc<Cell> = Arc::new(RwLock::new(variable.take()));
        run_context::remember_cell(Arc::downgrade(&cell));
        *variable = cell.into();
    }
}

/// The cells of an execution.
pub(crate) struct Cells {
    cells: Vec<Weak<Cell>>,
    /// The number of cells at which dropped ones are removed.
    prune_at: usize,
}

impl Cells {
    pub(crate) const fn new() -> Self {
        Self { cells: Vec::new(), prune_at: PRUNE_MIN }
    }

    pub(crate) fn remember(&mut self, cell: Weak<Cell>) {
        if self.cells.len() >= self.prune_at {
            // A dropped cell occupies memory until it is removed here, which counts for the script.
            self.cells.retain(|cell| cell.strong_count() > 0);
            self.prune_at = self.cells.len() + (self.cells.len() / 4).max(PRUNE_MIN);
        }
        self.cells.push(cell);
    }

    /// Clears the remaining cells. Each is cleared before any content is dropped, so that a long chain of closures is
    /// not dropped recursively.
    pub(crate) fn clear(self) {
        let contents: Vec<Dynamic> = self.cells.iter().filter_map(|cell| take(&*cell.upgrade()?)).collect();
        drop(contents);
    }
}

/// Takes the content of a cell; `None` if it is in use, which is impossible after an execution.
fn take(cell: &Cell) -> Option<Dynamic> {
    match cell.try_write() {
        Ok(mut content) => Some(content.take()),
        Err(TryLockError::Poisoned(poisoned)) => Some(PoisonError::into_inner(poisoned).take()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// Clears the cells of the current execution when it is dropped.
pub(crate) struct ClearCells;

impl Drop for ClearCells {
    fn drop(&mut self) {
        if let Some(cells) = run_context::take_cells() {
            cells.clear();
        }
    }
}
