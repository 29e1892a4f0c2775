//! Renders a template: inheritance, statements and output.

mod evaluate;

use std::collections::BTreeMap;
use std::ops::Range;

use manifest_schema::diagnostic::Suggestions;
use rhai::Dynamic;

use super::ast::{Ast, Expr, For, Import, Macro, Node, walk_nodes};
use super::parser::parse;
use super::value::{
    self, BYTES_PER_STEP, Loop, Text, Value, ValueError, charge, charge_new_items, convert, escape_into,
    escaped_length,
};
use super::{Fault, RenderError, TEMPLATE_FOLDER, Templates, escapes};
use crate::meter::STEPS_PER_POLL;

/// The maximum length of a page and of every text in it, in bytes.
pub(super) const OUTPUT_MAX: usize = 8 * 1024 * 1024;

/// The maximum nesting of macros, blocks and included templates at run time.
const CALL_DEPTH_MAX: usize = 24;

/// The maximum number of variables in scope.
const VARIABLES_MAX: usize = 200;

/// Why rendering ends early: a fault in one of the files.
pub(super) enum Failed {
    Stopped,
    At(usize, Fault),
}

pub(super) type Rendered<T> = Result<T, Failed>;

/// A template that the rendered one needs, possibly itself.
pub(super) struct File<'t> {
    name: &'t str,
    text: &'t str,
    pub(super) ast: Ast<'t>,
    escapes: bool,
}

/// The definitions of a block from the template that is rendered to the ones that it extends.
type Blocks<'t> = BTreeMap<&'t str, Vec<(usize, &'t [Node<'t>])>>;

/// A render in progress.
pub(super) struct Renderer<'t> {
    pub(super) files: &'t [File<'t>],
    by_name: BTreeMap<&'t str, usize>,
    pub(super) data: Value<'t>,
    /// The variables in scope, the newest last.
    variables: Vec<(&'t str, Value<'t>)>,
    /// Where the variables of the current macro begin.
    frame: usize,
    out: String,
    blocks: Blocks<'t>,
    /// The current file.
    pub(super) file: usize,
    depth: usize,
    /// The current block, and which of its definitions.
    block: Option<(&'t str, usize)>,
}

/// Checks the length of a text before it is built.
pub(super) fn limit_length(bytes: usize) -> Result<(), ValueError> {
    if bytes > OUTPUT_MAX {
        let message = format!("the text would be longer than {} MiB", OUTPUT_MAX / (1024 * 1024));
        return Err(ValueError::Invalid(message));
    }
    Ok(())
}

/// Makes room for `more` bytes.
pub(super) fn grow(out: &mut String, more: usize) -> Result<(), ValueError> {
    let length = out.len() + more;
    if length > out.capacity() {
        limit_length(length)?;
        let capacity = length.max(out.capacity().saturating_mul(2)).clamp(256, OUTPUT_MAX);
        value::charge_new_bytes(capacity)?;
        out.reserve_exact(capacity - out.len());
    }
    Ok(())
}

pub(super) fn render(templates: &Templates, name: &str, data: &Dynamic) -> Result<String, RenderError> {
    let stop_or_fail = |error| match error {
        ValueError::Stopped => RenderError::Stopped,
        ValueError::Invalid(message) => RenderError::Failed(message),
    };
    let (files, by_name) = load(templates, name)?;
    let data = convert(data, &mut String::new(), 0).map_err(stop_or_fail)?;
    let mut renderer = Renderer {
        files: &files,
        by_name,
        data,
        variables: Vec::new(),
        frame: 0,
        out: String::new(),
        blocks: Blocks::new(),
        file: 0,
        depth: 0,
        block: None,
    };
    match renderer.page(0) {
        Ok(()) => Ok(std::mem::take(&mut renderer.out)),
        Err(Failed::Stopped) => Err(RenderError::Stopped),
        Err(Failed::At(file, fault)) => {
            let File { name, text, .. } = &files[file];
            Err(RenderError::Failed(fault.describe(name, text)))
        }
    }
}

type Loaded<'t> = (Vec<File<'t>>, BTreeMap<&'t str, usize>);

/// Parses the template and all that it names, each once.
fn load<'t>(templates: &'t Templates, name: &str) -> Result<Loaded<'t>, RenderError> {
    let Some((name, _)) = templates.get_key_value(name) else {
        let known = templates.keys().map(String::as_str);
        let quoted: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        let near = Suggestions::default().did_you_mean(name, known);
        let help = near.map(|near| format!("; {near}")).unwrap_or_default();
        return Err(RenderError::Failed(format!("there is no template `{TEMPLATE_FOLDER}{quoted}`{help}")));
    };
    let (mut files, mut by_name) = (Vec::new(), BTreeMap::from([(name.as_str(), 0)]));
    let mut wanted = vec![name.as_str()];
    while let Some(name) = wanted.get(files.len()).copied() {
        let text = templates.get(name).map_or("", |source| source.text());
        let ast = parse(text).map_err(|faults| match faults.into_iter().next() {
            Some(fault) if !fault.stopped => RenderError::Failed(fault.describe(name, text)),
            _ => RenderError::Stopped,
        })?;
        for named in ast.names() {
            charge(4).map_err(|_| RenderError::Stopped)?;
            let Some((of, _)) = templates.get_key_value(named.name) else {
                let fault = Fault::new(named.at, format!("there is no template `{}`", named.name));
                return Err(RenderError::Failed(fault.describe(name, text)));
            };
            by_name.entry(of.as_str()).or_insert_with(|| {
                wanted.push(of);
                wanted.len() - 1
            });
        }
        files.push(File { name, text, ast, escapes: escapes(name) });
    }
    Ok((files, by_name))
}

impl<'t> Renderer<'t> {
    /// A failure at a place in the current file.
    pub(super) fn fail<T>(&self, at: &Range<usize>, message: impl Into<String>) -> Rendered<T> {
        Err(Failed::At(self.file, Fault::new(at.clone(), message.into())))
    }

    /// The place of an error of a value.
    pub(super) fn place<T>(&self, at: &Range<usize>, made: Result<T, ValueError>) -> Rendered<T> {
        made.or_else(|error| match error {
            ValueError::Stopped => Err(Failed::Stopped),
            ValueError::Invalid(message) => self.fail(at, message),
        })
    }

    pub(super) fn charge(&self, steps: usize) -> Rendered<()> {
        charge(steps).map_err(|_| Failed::Stopped)
    }

    pub(super) fn escapes(&self) -> bool {
        self.files[self.file].escapes
    }

    pub(super) fn source(&self, at: &Range<usize>) -> &'t str {
        self.files[self.file].text.get(at.clone()).unwrap_or_default()
    }

    fn file_of(&self, name: &str) -> usize {
        self.by_name.get(name).copied().unwrap_or(self.file)
    }

    /// The value of a variable in scope.
    pub(super) fn variable(&self, name: &str) -> Rendered<Option<Value<'t>>> {
        let own = self.variables.get(self.frame..).unwrap_or_default();
        let found = own.iter().rev().position(|(variable, _)| *variable == name);
        self.charge(1 + found.unwrap_or(own.len()) / 4)?;
        Ok(match found {
            Some(from_end) => own.get(own.len() - 1 - from_end).map(|(_, value)| value.clone()),
            None => self.data.get(name),
        })
    }

    /// The names of all variables in scope.
    pub(super) fn variable_names(&self) -> Vec<&str> {
        let own = self.variables.get(self.frame..).unwrap_or_default().iter().map(|(name, _)| *name);
        let data = match &self.data {
            Value::Map(map) => map.entries.as_slice(),
            _ => &[],
        };
        own.chain(data.iter().map(|(name, _)| name.as_str())).take(1000).collect()
    }

    fn declare(&mut self, at: &Range<usize>, name: &'t str, value: Value<'t>) -> Rendered<()> {
        if self.variables.len() - self.frame >= VARIABLES_MAX {
            return self.fail(at, format!("more than {VARIABLES_MAX} variables"));
        }
        self.variables.push((name, value));
        Ok(())
    }

    /// Sets a variable of the current scope, which begins at `scope`.
    fn set(&mut self, scope: usize, name: &'t str, value: Value<'t>) -> Rendered<()> {
        self.charge(1 + (self.variables.len() - scope) / 4)?;
        let same =
            self.variables.get_mut(scope..).unwrap_or_default().iter_mut().find(|(set, _)| *set == name);
        match same {
            Some((_, old)) => *old = value,
            None => self.declare(&(0..0), name, value)?,
        }
        Ok(())
    }

    /// Renders within a nested macro, block or template.
    pub(super) fn nested<T>(
        &mut self,
        at: &Range<usize>,
        work: impl FnOnce(&mut Self) -> Rendered<T>,
    ) -> Rendered<T> {
        if self.depth >= CALL_DEPTH_MAX {
            return self
                .fail(at, format!("macros and templates are nested deeper than {CALL_DEPTH_MAX} levels"));
        }
        // Polls the limit of the stack too.
        self.charge(STEPS_PER_POLL)?;
        self.depth += 1;
        let file = self.file;
        let done = work(self)?;
        self.file = file;
        self.depth -= 1;
        Ok(done)
    }

    /// Renders a file, with the one that it extends around it.
    fn page(&mut self, file: usize) -> Rendered<()> {
        let outer = std::mem::take(&mut self.blocks);
        let files = self.files;
        let (mut base, scope) = (file, self.variables.len());
        for extended in 0.. {
            let ast = &files[base].ast;
            let mut nodes = 0;
            walk_nodes(&ast.body, &mut |node| {
                nodes += 1;
                if let Node::Block { name, body, .. } = node {
                    self.blocks.entry(name).or_default().push((base, body));
                }
            });
            self.charge(nodes)?;
            let Some(parent) = &ast.extends else { break };
            self.file = base;
            // Of a template that extends another one, only the variables and the blocks count.
            for node in &ast.body {
                if matches!(node, Node::Set { .. } | Node::SetBlock { .. }) {
                    self.node(node, scope)?;
                }
            }
            if extended > files.len() {
                return self.fail(&parent.at, "the template extends itself");
            }
            base = self.file_of(parent.name);
        }
        self.file = base;
        let block = self.block.take();
        self.nodes(&files[base].ast.body, scope)?;
        self.block = block;
        self.variables.truncate(scope);
        self.blocks = outer;
        Ok(())
    }

    fn nodes(&mut self, nodes: &'t [Node<'t>], scope: usize) -> Rendered<()> {
        nodes.iter().try_for_each(|node| self.node(node, scope))
    }

    /// Renders nodes in a scope of their own.
    fn scoped(&mut self, nodes: &'t [Node<'t>]) -> Rendered<()> {
        let scope = self.variables.len();
        self.nodes(nodes, scope)?;
        self.variables.truncate(scope);
        Ok(())
    }

    fn node(&mut self, node: &'t Node<'t>, scope: usize) -> Rendered<()> {
        self.charge(4)?;
        match node {
            Node::Text(text) => self.write(text),
            Node::Write(value) => self.write_value(value),
            Node::If { branches, otherwise } => {
                for (condition, body) in branches {
                    if self.evaluate(condition)?.is_true() {
                        return self.nodes(body, scope);
                    }
                }
                self.nodes(otherwise, scope)
            }
            Node::For(repeated) => self.repeat(repeated, scope),
            Node::Set { name, value } => {
                let value = self.evaluate(value)?;
                self.set(scope, name, value)
            }
            Node::SetBlock { name, body } => {
                let text = self.capture(|renderer| renderer.scoped(body))?;
                self.set(scope, name, text)
            }
            Node::Block { name, at, .. } => self.render_block(name, 0, at),
            Node::Include(of) => {
                let file = self.file_of(of.name);
                self.nested(&of.at, |renderer| renderer.page(file))
            }
        }
    }

    /// Renders a definition of a block; `0` is the one of the template that is rendered.
    fn render_block(&mut self, name: &'t str, level: usize, at: &Range<usize>) -> Rendered<()> {
        let Some((file, body)) = self.blocks.get(name).and_then(|found| found.get(level)).copied() else {
            return self.fail(at, format!("no template that this one extends has a block `{name}`"));
        };
        let outer = self.block.replace((name, level));
        self.nested(at, |renderer| {
            renderer.file = file;
            renderer.scoped(body)
        })?;
        self.block = outer;
        Ok(())
    }

    /// The block that the current one replaces, as text.
    pub(super) fn super_block(&mut self, at: &Range<usize>) -> Rendered<Value<'t>> {
        let Some((name, level)) = self.block else {
            return self.fail(at, "`super()` is only available in a block");
        };
        self.capture(|renderer| renderer.render_block(name, level + 1, at))
    }

    fn repeat(&mut self, repeated: &'t For<'t>, scope: usize) -> Rendered<()> {
        let at = &repeated.items.at;
        let items = self.evaluate(&repeated.items)?;
        if let Value::List(list) = &items {
            self.charge(list.items.len())?;
        }
        let items = match (&items, repeated.targets.len()) {
            (Value::List(_), 1) => items,
            (Value::List(list), _) if list.items.iter().all(|item| is_pair(item)) => items,
            (Value::Map(map), 2) => {
                self.place(at, charge_new_items(map.entries.len().saturating_mul(3)))?;
                let pair = |(key, value): &(rhai::Identifier, Value<'t>)| {
                    Value::list(vec![Value::text(key.as_str()), value.clone()])
                };
                let pairs = map.entries.iter().map(pair).collect::<Result<_, _>>().and_then(Value::list);
                self.place(at, pairs)?
            }
            (Value::Map(map), 1) => {
                self.place(at, charge_new_items(map.entries.len()))?;
                let keys = map.entries.iter().map(|(key, _)| Value::text(key.as_str())).collect();
                self.place(at, Value::list(keys))?
            }
            (Value::List(_), _) => {
                return self.fail(at, "an item of the array is not an array of two values");
            }
            (other, _) => return self.fail(at, format!("cannot loop over {}", other.kind())),
        };
        let Value::List(list) = &items else { return Ok(()) };
        let kept = match &repeated.condition {
            None => None,
            Some(condition) => Some(self.filtered(&list.items, repeated, condition)?),
        };
        let length = kept.as_ref().map_or(list.items.len(), Vec::len);
        if length == 0 {
            return self.nodes(&repeated.otherwise, scope);
        }
        for index in 0..length {
            let place = kept.as_ref().map_or(Some(index), |kept| kept.get(index).copied());
            let Some(item) = place.and_then(|place| list.items.get(place)) else { break };
            let inner = self.variables.len();
            self.declare(at, "loop", Value::Loop(Loop { index, length }))?;
            self.bind(repeated, item)?;
            self.nodes(&repeated.body, inner)?;
            self.variables.truncate(inner);
        }
        Ok(())
    }

    /// The items for which the condition of the loop holds.
    fn filtered(
        &mut self,
        items: &[Value<'t>],
        repeated: &'t For<'t>,
        condition: &'t Expr<'t>,
    ) -> Rendered<Vec<usize>> {
        self.place(&condition.at, charge_new_items(items.len()))?;
        let mut kept = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.charge(4)?;
            let scope = self.variables.len();
            self.bind(repeated, item)?;
            if self.evaluate(condition)?.is_true() {
                kept.push(index);
            }
            self.variables.truncate(scope);
        }
        Ok(kept)
    }

    fn bind(&mut self, repeated: &'t For<'t>, item: &Value<'t>) -> Rendered<()> {
        self.charge(2)?;
        let at = &repeated.items.at;
        match (repeated.targets.as_slice(), item) {
            ([one], _) => self.declare(at, one, item.clone()),
            (several, Value::List(list)) => several
                .iter()
                .zip(&list.items)
                .try_for_each(|(target, value)| self.declare(at, target, value.clone())),
            _ => Ok(()),
        }
    }

    /// Runs `work` and takes its output as a text.
    pub(super) fn capture(&mut self, work: impl FnOnce(&mut Self) -> Rendered<()>) -> Rendered<Value<'t>> {
        let outer = std::mem::take(&mut self.out);
        work(self)?;
        let text = std::mem::replace(&mut self.out, outer);
        Ok(Value::Text(Text::shared(text).safe(self.escapes())))
    }

    /// Calls a macro of `file` with its arguments in order.
    pub(super) fn call_macro(
        &mut self,
        file: usize,
        made: &'t Macro<'t>,
        arguments: Vec<Option<Value<'t>>>,
        at: &Range<usize>,
    ) -> Rendered<Value<'t>> {
        let (frame, scope) = (self.frame, self.variables.len());
        let text = self.nested(at, |renderer| {
            renderer.frame = scope;
            let caller = renderer.file;
            let block = renderer.block.take();
            for ((name, default), argument) in made.parameters.iter().zip(arguments) {
                let value = match (argument, default) {
                    (Some(value), _) => value,
                    (None, Some(default)) => {
                        renderer.file = file;
                        renderer.evaluate(default)?
                    }
                    (None, None) => {
                        renderer.file = caller;
                        return renderer.fail(at, format!("argument `{name}` of `{}` is missing", made.name));
                    }
                };
                renderer.declare(at, name, value)?;
            }
            renderer.file = file;
            let text = renderer.capture(|renderer| renderer.nodes(&made.body, scope))?;
            renderer.block = block;
            Ok(text)
        })?;
        self.variables.truncate(scope);
        self.frame = frame;
        Ok(text)
    }

    /// The macro that a call means: `name(...)`, or `alias.name(...)`.
    pub(super) fn find_macro(&self, module: Option<&str>, name: &str) -> Option<(usize, &'t Macro<'t>)> {
        let files = self.files;
        let of = |file: usize, name: &str| {
            let ast: &'t Ast<'t> = &files.get(file)?.ast;
            ast.macros.iter().find(|made| made.name == name).map(|made| (file, made))
        };
        let imports: &'t [Import<'t>] = &files[self.file].ast.imports;
        if let Some(module) = module {
            let import = imports.iter().find(|import| import.alias == module && import.name.is_none())?;
            return of(self.file_of(import.from.name), name);
        }
        of(self.file, name).or_else(|| {
            let import = imports.iter().find(|import| import.alias == name)?;
            let (name, _) = import.name.as_ref()?;
            of(self.file_of(import.from.name), name)
        })
    }

    fn write_value(&mut self, expression: &'t Expr<'t>) -> Rendered<()> {
        let value = self.evaluate(expression)?;
        let at = &expression.at;
        let Some(text) = value.scalar_text() else {
            let way = match value {
                Value::List(_) => "use `join` or a loop",
                _ => "write one of its values, or use `tojson`",
            };
            return self.fail(at, format!("{} cannot be written; {way}", value.kind()));
        };
        if text.is_safe || !self.escapes() {
            return self.write_at(text.as_str(), at);
        }
        self.place(at, limit_length(text.as_str().len()))?;
        self.charge(text.as_str().len() / BYTES_PER_STEP)?;
        let length = escaped_length(text.as_str());
        self.charge(length / BYTES_PER_STEP)?;
        let grown = grow(&mut self.out, length);
        self.place(at, grown)?;
        escape_into(text.as_str(), &mut self.out);
        Ok(())
    }

    fn write(&mut self, text: &str) -> Rendered<()> {
        self.write_at(text, &(0..0))
    }

    fn write_at(&mut self, text: &str, at: &Range<usize>) -> Rendered<()> {
        self.charge(text.len() / BYTES_PER_STEP)?;
        let grown = grow(&mut self.out, text.len());
        self.place(at, grown)?;
        self.out.push_str(text);
        Ok(())
    }
}

fn is_pair(item: &Value<'_>) -> bool {
    matches!(item, Value::List(pair) if pair.items.len() == 2)
}
