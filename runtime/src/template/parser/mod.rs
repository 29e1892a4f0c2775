//! Parses a template: text, `{{ expression }}`, `{% tag %}` and `{# comment #}`. `-` inside a delimiter trims the
//! white space next to it.
//!
//! Nesting and the length of expressions are limited, so that neither the parser nor the renderer can exhaust the
//! stack.

mod expression;

use std::ops::Range;

use super::Fault;
use super::ast::{Ast, Expr, For, Import, Macro, Node, TemplateName};
use super::lexer::{self, Token};
use crate::run_context;

/// The maximum nesting of tags.
const TAG_DEPTH_MAX: usize = 32;

/// The maximum number of nodes of a template.
const NODES_MAX: usize = 50_000;

/// The maximum number of blocks, of macros, of imports, and of parameters of a macro.
const DEFINITIONS_MAX: usize = 200;

/// The words that cannot be names of variables.
pub(super) const RESERVED: [&str; 15] = [
    "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None", "loop",
    "super",
];

/// The tags.
const TAGS: [&str; 10] =
    ["extends", "block", "include", "import", "from", "macro", "if", "for", "set", "raw"];

/// The tags that end or continue another one.
const ENDS: [&str; 9] =
    ["endblock", "endmacro", "endif", "elif", "else", "endfor", "endset", "endraw", "elseif"];

type Parsed<T> = Result<T, Fault>;

/// The parser of one template.
pub(super) struct Parser<'t> {
    pub(super) text: &'t str,
    /// The position of the next token.
    pub(super) at: usize,
    /// The delimiter that ends the current tag.
    close: &'static str,
    /// The open braces of the current tag.
    braces: usize,
    peeked: Option<(Token<'t>, Range<usize>)>,
    /// Whether the last tag trims the text after it.
    trims: bool,
    depth: usize,
    nodes: usize,
    /// The operators of the current expression, see `expression`.
    pub(super) operators: usize,
    pub(super) expression_depth: usize,
    pub(super) ast: Ast<'t>,
    blocks: Vec<&'t str>,
    /// Faults after which parsing continues.
    pub(super) faults: Vec<Fault>,
}

/// Parses a template.
///
/// # Errors
/// All faults that were found, at least one.
pub(super) fn parse(text: &str) -> Result<Ast<'_>, Vec<Fault>> {
    let mut parser = Parser {
        text,
        at: if text.starts_with('\u{feff}') { 3 } else { 0 },
        close: "%}",
        braces: 0,
        peeked: None,
        trims: false,
        depth: 0,
        nodes: 0,
        operators: 0,
        expression_depth: 0,
        ast: Ast::default(),
        blocks: Vec::new(),
        faults: Vec::new(),
    };
    let parsed = parser.body(None);
    let mut faults = parser.faults;
    match parsed {
        Ok((body, _)) if faults.is_empty() => return Ok(Ast { body, ..parser.ast }),
        Ok(_) => {}
        Err(fault) => faults.push(fault),
    }
    faults.sort_by_key(|fault| fault.at.start);
    Err(faults)
}

/// A tag whose body is being parsed: its name, the words that end a part of it, and where it is.
#[derive(Clone)]
struct Open {
    name: &'static str,
    ends: &'static [&'static str],
    at: Range<usize>,
}

impl<'t> Parser<'t> {
    /// Parses nodes until a tag that ends `open`, and returns its name; the rest of that tag is not parsed yet.
    fn body(&mut self, open: Option<Open>) -> Parsed<(Vec<Node<'t>>, &'t str)> {
        self.depth += 1;
        if self.depth > TAG_DEPTH_MAX {
            let message = format!("tags are nested deeper than {TAG_DEPTH_MAX} levels");
            return Err(Fault::new(self.at..self.at, message));
        }
        let mut nodes = Vec::new();
        loop {
            let start = self.at;
            let found = self.text[start..].match_indices('{').find_map(|(at, _)| {
                let kind = self.text.as_bytes().get(start + at + 1).copied()?;
                matches!(kind, b'{' | b'%' | b'#').then_some((start + at, kind))
            });
            let Some((tag, kind)) = found else {
                if let Some(open) = open {
                    let expected = open.ends.last().copied().unwrap_or_default();
                    let message = format!("`{}` is not closed; `{{% {expected} %}}` is missing", open.name);
                    return Err(Fault::new(open.at, message));
                }
                self.text_node(start, self.text.len(), false, &mut nodes);
                self.at = self.text.len();
                self.depth -= 1;
                return Ok((nodes, ""));
            };
            let trims_before = self.text.as_bytes().get(tag + 2) == Some(&b'-');
            self.text_node(start, tag, trims_before, &mut nodes);
            self.trims = false;
            self.count(tag)?;
            self.at = tag + 2 + usize::from(trims_before);
            match kind {
                b'#' => self.comment(tag)?,
                b'{' => {
                    self.close = "}}";
                    let value = self.whole_expression()?;
                    self.end_tag()?;
                    nodes.push(Node::Write(value));
                }
                _ => {
                    self.close = "%}";
                    if let Some(end) = self.tag(tag, open.as_ref(), &mut nodes)? {
                        self.depth -= 1;
                        return Ok((nodes, end));
                    }
                }
            }
        }
    }

    fn count(&mut self, at: usize) -> Parsed<()> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(Fault::new(at..at, format!("the template has more than {NODES_MAX} tags")));
        }
        // The caller notices a reached limit; it is not a fault of the template.
        match run_context::charge(32) {
            Some(_) => Err(Fault::stopped()),
            None => Ok(()),
        }
    }

    /// Limits what is searched by name.
    fn limit_definitions(&self, count: usize, what: &str, at: &Range<usize>) -> Parsed<()> {
        if count >= DEFINITIONS_MAX {
            return Err(Fault::new(at.clone(), format!("more than {DEFINITIONS_MAX} {what}")));
        }
        Ok(())
    }

    fn text_node(&mut self, start: usize, end: usize, trims_end: bool, nodes: &mut Vec<Node<'t>>) {
        let mut text = &self.text[start..end];
        if self.trims {
            text = text.trim_start();
        }
        if trims_end {
            text = text.trim_end();
        }
        if !text.is_empty() {
            nodes.push(Node::Text(text));
        }
    }

    fn comment(&mut self, start: usize) -> Parsed<()> {
        match self.text[self.at..].find("#}") {
            Some(length) => {
                self.trims = self.text[self.at..self.at + length].ends_with('-');
                self.at += length + 2;
                Ok(())
            }
            None => {
                Err(Fault::new(start..start + 2, "the comment is not closed; `#}` is missing".to_owned()))
            }
        }
    }

    /// Parses the tag at `start`. Returns its name if it ends `open`.
    fn tag(
        &mut self,
        start: usize,
        open: Option<&Open>,
        nodes: &mut Vec<Node<'t>>,
    ) -> Parsed<Option<&'t str>> {
        let (token, at) = self.next()?;
        let Token::Name(name) = token else {
            return Err(Fault::new(at, "a tag begins with its name".to_owned()));
        };
        if open.is_some_and(|open| open.ends.contains(&name)) {
            return Ok(Some(name));
        }
        let is_top_level = self.depth == 1;
        let whole = start..at.end;
        match name {
            "extends" => self.extends(whole, nodes)?,
            "block" => self.block(whole, nodes)?,
            "include" => {
                let of = self.template_name()?;
                self.end_tag()?;
                nodes.push(Node::Include(of));
            }
            "import" | "from" | "macro" if !is_top_level => {
                return Err(Fault::new(whole, format!("`{name}` cannot be inside of another tag")));
            }
            "import" => {
                self.limit_definitions(self.ast.imports.len(), "imports", &whole)?;
                let from = self.template_name()?;
                self.keyword("as")?;
                let (alias, _) = self.name()?;
                self.end_tag()?;
                self.ast.imports.push(Import { from, name: None, alias });
            }
            "from" => self.from()?,
            "macro" => self.made(whole)?,
            "if" => self.condition(whole, nodes)?,
            "for" => self.repeated(whole, nodes)?,
            "set" => self.set(whole, nodes)?,
            "raw" => self.raw(whole, nodes)?,
            _ if ENDS.contains(&name) => {
                let message = match open {
                    Some(open) => {
                        let expected = open.ends.last().copied().unwrap_or_default();
                        format!("`{name}` closes no tag; `{}` is closed by `{{% {expected} %}}`", open.name)
                    }
                    None => format!("`{name}` closes no tag"),
                };
                return Err(Fault::new(at, message));
            }
            _ => {
                let fault = Fault::new(at, format!("unknown tag `{name}`"));
                return Err(fault.with_known(name, TAGS.into_iter()));
            }
        }
        Ok(None)
    }

    fn extends(&mut self, at: Range<usize>, nodes: &[Node<'t>]) -> Parsed<()> {
        let is_first = self.depth == 1
            && self.ast.extends.is_none()
            && nodes.iter().all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()));
        if !is_first {
            return Err(Fault::new(at, "`extends` must be the first tag of a template".to_owned()));
        }
        self.ast.extends = Some(self.template_name()?);
        self.end_tag()
    }

    fn block(&mut self, at: Range<usize>, nodes: &mut Vec<Node<'t>>) -> Parsed<()> {
        let (name, name_at) = self.name()?;
        self.end_tag()?;
        self.limit_definitions(self.blocks.len(), "blocks", &at)?;
        if self.blocks.contains(&name) {
            self.faults.push(Fault::new(name_at.clone(), format!("block `{name}` exists twice")));
        }
        self.blocks.push(name);
        let (body, _) = self.body(Some(Open { name: "block", ends: &["endblock"], at }))?;
        // The name can be repeated.
        if let (Token::Name(repeated), at) = self.peek()?.clone() {
            self.next()?;
            if repeated != name {
                self.faults.push(Fault::new(at, format!("`endblock {repeated}` closes block `{name}`")));
            }
        }
        self.end_tag()?;
        nodes.push(Node::Block { name, at: name_at, body });
        Ok(())
    }

    fn from(&mut self) -> Parsed<()> {
        let from = self.template_name()?;
        self.keyword("import")?;
        loop {
            let (name, at) = self.name()?;
            self.limit_definitions(self.ast.imports.len(), "imports", &at)?;
            let alias = if self.skip_name("as")? { self.name()?.0 } else { name };
            self.ast.imports.push(Import { from: from.clone(), name: Some((name, at)), alias });
            if !self.skip(",")? {
                return self.end_tag();
            }
        }
    }

    fn made(&mut self, at: Range<usize>) -> Parsed<()> {
        let (name, name_at) = self.name()?;
        self.limit_definitions(self.ast.macros.len(), "macros", &at)?;
        if self.ast.macros.iter().any(|made| made.name == name) {
            self.faults.push(Fault::new(name_at, format!("macro `{name}` exists twice")));
        }
        self.expect("(")?;
        let mut parameters: Vec<(&'t str, Option<Expr<'t>>)> = Vec::new();
        while !self.skip(")")? {
            let (parameter, at) = self.name()?;
            self.limit_definitions(parameters.len(), "parameters", &at)?;
            if parameters.iter().any(|(other, _)| *other == parameter) {
                self.faults.push(Fault::new(at, format!("parameter `{parameter}` exists twice")));
            }
            let default = if self.skip("=")? { Some(self.whole_expression()?) } else { None };
            parameters.push((parameter, default));
            if !self.skip(",")? {
                self.expect(")")?;
                break;
            }
        }
        self.end_tag()?;
        let (body, _) = self.body(Some(Open { name: "macro", ends: &["endmacro"], at }))?;
        self.skip_name(name)?;
        self.end_tag()?;
        self.ast.macros.push(Macro { name, parameters, body });
        Ok(())
    }

    fn condition(&mut self, at: Range<usize>, nodes: &mut Vec<Node<'t>>) -> Parsed<()> {
        let (mut branches, mut otherwise) = (Vec::new(), Vec::new());
        let open = Open { name: "if", ends: &["elif", "else", "endif"], at: at.clone() };
        loop {
            let condition = self.whole_expression()?;
            self.end_tag()?;
            let (body, end) = self.body(Some(open.clone()))?;
            branches.push((condition, body));
            match end {
                "elif" => {}
                "else" => {
                    self.end_tag()?;
                    otherwise = self.body(Some(Open { name: "if", ends: &["endif"], at }))?.0;
                    break;
                }
                _ => break,
            }
        }
        self.end_tag()?;
        nodes.push(Node::If { branches, otherwise });
        Ok(())
    }

    fn repeated(&mut self, at: Range<usize>, nodes: &mut Vec<Node<'t>>) -> Parsed<()> {
        let mut targets = vec![self.name()?.0];
        if self.skip(",")? {
            targets.push(self.name()?.0);
        }
        self.keyword("in")?;
        let items = self.whole_operand()?;
        let condition = if self.skip_name("if")? { Some(self.whole_expression()?) } else { None };
        self.end_tag()?;
        let open = Open { name: "for", ends: &["else", "endfor"], at: at.clone() };
        let (body, end) = self.body(Some(open))?;
        let mut otherwise = Vec::new();
        if end == "else" {
            self.end_tag()?;
            otherwise = self.body(Some(Open { name: "for", ends: &["endfor"], at }))?.0;
        }
        self.end_tag()?;
        nodes.push(Node::For(Box::new(For { targets, items, condition, body, otherwise })));
        Ok(())
    }

    fn set(&mut self, at: Range<usize>, nodes: &mut Vec<Node<'t>>) -> Parsed<()> {
        let (name, _) = self.name()?;
        if self.skip("=")? {
            let value = self.whole_expression()?;
            self.end_tag()?;
            nodes.push(Node::Set { name, value });
        } else {
            self.end_tag()?;
            let (body, _) = self.body(Some(Open { name: "set", ends: &["endset"], at }))?;
            self.end_tag()?;
            nodes.push(Node::SetBlock { name, body });
        }
        Ok(())
    }

    fn raw(&mut self, at: Range<usize>, nodes: &mut Vec<Node<'t>>) -> Parsed<()> {
        self.end_tag()?;
        let start = self.at;
        let mut from = start;
        while let Some(found) = self.text[from..].find("{%") {
            let tag = from + found;
            let inside = self.text[tag + 2..].trim_start_matches('-').trim_start();
            if let Some(rest) = inside.strip_prefix("endraw") {
                self.at = self.text.len() - rest.len();
                let trims_before = self.text.as_bytes().get(tag + 2) == Some(&b'-');
                self.text_node(start, tag, trims_before, nodes);
                return self.end_tag();
            }
            from = tag + 2;
        }
        Err(Fault::new(at, "`raw` is not closed; `{% endraw %}` is missing".to_owned()))
    }

    /// The literal name of a template.
    fn template_name(&mut self) -> Parsed<TemplateName<'t>> {
        let (token, at) = self.next()?;
        match token {
            Token::Text(std::borrow::Cow::Borrowed(name)) => Ok(TemplateName { name, at }),
            _ => Err(Fault::new(at, "the name of a template is written as a string".to_owned())),
        }
    }

    pub(super) fn peek(&mut self) -> Parsed<&(Token<'t>, Range<usize>)> {
        let token = match self.peeked.take() {
            Some(token) => token,
            None => lexer::next(self.text, self.at, self.close, self.braces)?,
        };
        Ok(self.peeked.insert(token))
    }

    pub(super) fn next(&mut self) -> Parsed<(Token<'t>, Range<usize>)> {
        let (token, at) = self.peek()?.clone();
        self.peeked = None;
        match token {
            // The end is read again until `end_tag`.
            Token::End(_) => {}
            Token::Symbol("{") => {
                self.braces += 1;
                self.at = at.end;
            }
            Token::Symbol("}") => {
                self.braces = self.braces.saturating_sub(1);
                self.at = at.end;
            }
            _ => self.at = at.end,
        }
        if run_context::charge(8).is_some() {
            return Err(Fault::stopped());
        }
        Ok((token, at))
    }

    pub(super) fn skip(&mut self, symbol: &str) -> Parsed<bool> {
        let found = matches!(self.peek()?.0, Token::Symbol(other) if other == symbol);
        if found {
            self.next()?;
        }
        Ok(found)
    }

    pub(super) fn skip_name(&mut self, name: &str) -> Parsed<bool> {
        let found = matches!(self.peek()?.0, Token::Name(other) if other == name);
        if found {
            self.next()?;
        }
        Ok(found)
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.skip(symbol)? { Ok(()) } else { self.unexpected(&format!("`{symbol}`")) }
    }

    fn keyword(&mut self, name: &str) -> Parsed<()> {
        if self.skip_name(name)? { Ok(()) } else { self.unexpected(&format!("`{name}`")) }
    }

    /// A new name.
    pub(super) fn name(&mut self) -> Parsed<(&'t str, Range<usize>)> {
        match self.peek()?.clone() {
            (Token::Name(name), at) if RESERVED.contains(&name) => {
                Err(Fault::new(at, format!("`{name}` is reserved")))
            }
            (Token::Name(name), at) => {
                self.next()?;
                Ok((name, at))
            }
            _ => self.unexpected("a name"),
        }
    }

    pub(super) fn unexpected<T>(&mut self, expected: &str) -> Parsed<T> {
        let (token, at) = self.peek()?.clone();
        let found = match token {
            Token::End(_) => format!("the end of the tag (`{}`)", self.close),
            _ => {
                let written: String = self.text[at.clone()].chars().take(40).collect();
                format!("`{}`", written.escape_debug())
            }
        };
        Err(Fault::new(at, format!("expected {expected}, found {found}")))
    }

    fn end_tag(&mut self) -> Parsed<()> {
        match self.peek()?.clone() {
            (Token::End(trims), at) => {
                self.peeked = None;
                self.at = at.end;
                self.trims = trims;
                self.braces = 0;
                Ok(())
            }
            _ => {
                let close = self.close;
                self.unexpected(&format!("`{close}`"))
            }
        }
    }
}
