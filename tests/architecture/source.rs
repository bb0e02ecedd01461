//! What a source file names: its paths, resolved to the crate, and its bare words.
//!
//! It reads tokens, not a syntax tree: so a path counts wherever it stands, also in an attribute, in the body of a
//! macro, or in a string of an attribute. What is under `#[cfg(test)]` does not count. Names that an import has made
//! short are not followed; the import itself counts.

use std::collections::BTreeSet;

use syn::buffer::{Cursor, TokenBuffer};

/// A module, as the names that lead to it from the crate's root.
pub(crate) type Module = Vec<String>;

/// What a file names outside of its tests.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Paths into this crate, from its root; `*` ends a glob.
    pub(crate) ours: BTreeSet<Vec<String>>,
    /// All other paths, as they are written; the first name may be a dependency.
    pub(crate) theirs: BTreeSet<Vec<String>>,
    /// Every identifier; a macro that is called has its `!`.
    pub(crate) words: BTreeSet<String>,
    /// The modules that are declared for tests alone: their files do not count either.
    pub(crate) test_modules: BTreeSet<Module>,
}

impl Source {
    /// Reads the file of `module`; `top_level` are the modules that stand in the crate's root.
    pub(crate) fn read(text: &str, module: &[&str], top_level: &[&str]) -> syn::Result<Self> {
        let mut source = Self::default();
        let module: Module = module.iter().map(|&name| name.to_owned()).collect();
        source.text(text, &module, top_level)?;
        Ok(source)
    }

    fn text(&mut self, text: &str, module: &Module, top_level: &[&str]) -> syn::Result<()> {
        let tokens = TokenBuffer::new2(syn::parse_str(text)?);
        self.tokens(tokens.begin(), module, top_level);
        Ok(())
    }

    fn tokens(&mut self, mut at: Cursor<'_>, module: &Module, top_level: &[&str]) {
        while !at.eof() {
            if let Some(item) = after_cfg_test(at) {
                let (name, next) = skip_item(item);
                self.test_modules.extend(name.map(|name| child(module, name)));
                at = next;
            } else if let Some(next) = after_visibility(at) {
                at = next;
            } else if let Some((name, body, next)) = inline_module(at) {
                self.tokens(body, &child(module, name), top_level);
                at = next;
            } else if let Some(tree) = after_word(at, "use").filter(|tree| punct(*tree, '<').is_none()) {
                at = self.use_tree(tree, &[], module, top_level);
            } else if let Some((names, next)) = path(at) {
                let called = names.len() == 1 && punct(next, '!').is_some_and(|after| punct(after, '=').is_none());
                self.words.extend(names.iter().map(|name| if called { format!("{name}!") } else { name.clone() }));
                if names.len() > 1 || names.iter().any(|name| matches!(name.as_str(), "crate" | "super")) {
                    self.path(&names, module, top_level);
                }
                at = next;
            } else if let Some((inner, _, _, next)) = at.any_group() {
                self.tokens(inner, module, top_level);
                at = next;
            } else if let Some((literal, next)) = at.literal() {
                let literal = literal.to_string();
                let text = literal.trim_matches('"');
                if ["crate::", "super::", "self::"].iter().any(|start| text.starts_with(start)) {
                    // What is no path after all names nothing.
                    let _ = self.text(text, module, top_level);
                }
                at = next;
            } else {
                at = at.token_tree().map_or(Cursor::empty(), |(_, next)| next);
            }
        }
    }

    /// One tree of a `use`, up to the comma or semicolon behind it.
    fn use_tree<'a>(&mut self, at: Cursor<'a>, before: &[String], module: &Module, top_level: &[&str]) -> Cursor<'a> {
        let at = separator(at).unwrap_or(at);
        let (names, mut at) = path(at).unwrap_or((Vec::new(), at));
        let mut whole = [before, &names].concat();
        self.words.extend(names);
        let tail = separator(at).unwrap_or(at);
        if let Some((mut inner, _, _, next)) = tail.any_group() {
            while !inner.eof() {
                inner = self.use_tree(inner, &whole, module, top_level);
            }
            return next;
        }
        if let Some(next) = punct(tail, '*') {
            whole.push("*".to_owned());
            at = next;
        }
        // `{self}` is what stands before the braces.
        if whole.len() > 1 && whole.last().is_some_and(|last| last == "self") {
            whole.pop();
        }
        self.path(&whole, module, top_level);
        while let Some((_, next)) = at.token_tree() {
            if let Some(end) = punct(at, ',').or_else(|| punct(at, ';')) {
                return end;
            }
            at = next;
        }
        at
    }

    fn path(&mut self, names: &[String], module: &Module, top_level: &[&str]) {
        let Some((first, mut rest)) = names.split_first() else { return };
        let mut from = match first.as_str() {
            "crate" | "pii_vault" => Module::new(),
            "self" => module.clone(),
            "super" => parent(module),
            name if module.is_empty() && top_level.contains(&name) => vec![name.to_owned()],
            _ => {
                self.theirs.insert(names.to_vec());
                return;
            }
        };
        while let Some(("super", after)) = rest.split_first().map(|(name, after)| (name.as_str(), after)) {
            from = parent(&from);
            rest = after;
        }
        from.extend_from_slice(rest);
        self.ours.insert(from);
    }
}

fn child(module: &Module, name: String) -> Module {
    let mut child = module.clone();
    child.push(name);
    child
}

fn parent(module: &Module) -> Module {
    module.split_last().map(|(_, parent)| parent.to_vec()).unwrap_or_default()
}

/// `a::b::c`, as far as it goes; `::` before it is dropped.
fn path(at: Cursor<'_>) -> Option<(Vec<String>, Cursor<'_>)> {
    let (first, mut at) = separator(at).unwrap_or(at).ident()?;
    let mut names = vec![name_of(&first)];
    while let Some((name, next)) = separator(at).and_then(Cursor::ident) {
        names.push(name_of(&name));
        at = next;
    }
    Some((names, at))
}

fn name_of(ident: &syn::Ident) -> String {
    ident.to_string().trim_start_matches("r#").to_owned()
}

fn separator(at: Cursor<'_>) -> Option<Cursor<'_>> {
    punct(punct(at, ':')?, ':')
}

fn punct(at: Cursor<'_>, wanted: char) -> Option<Cursor<'_>> {
    at.punct().filter(|(punct, _)| punct.as_char() == wanted).map(|(_, next)| next)
}

fn after_word<'a>(at: Cursor<'a>, wanted: &str) -> Option<Cursor<'a>> {
    at.ident().filter(|(ident, _)| ident == wanted).map(|(_, next)| next)
}

/// `pub(…)`: who may see an item is no use of anything. `pub (A, B)` is a field's type and stays.
fn after_visibility(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let (inner, _, _, next) = after_word(at, "pub")?.any_group()?;
    let (word, rest) = inner.ident()?;
    let restricts = word == "in" || (rest.eof() && ["crate", "self", "super"].iter().any(|name| word == name));
    restricts.then_some(next)
}

fn inline_module(at: Cursor<'_>) -> Option<(String, Cursor<'_>, Cursor<'_>)> {
    let (name, body) = after_word(at, "mod")?.ident()?;
    let (inner, _, _, next) = body.any_group()?;
    Some((name_of(&name), inner, next))
}

/// What stands behind `#[cfg(test)]`, exactly so: other conditions may hold outside of tests.
fn after_cfg_test(at: Cursor<'_>) -> Option<Cursor<'_>> {
    let (attribute, _, _, next) = punct(at, '#')?.any_group()?;
    let (condition, _, _, end) = after_word(attribute, "cfg")?.any_group()?;
    (after_word(condition, "test")?.eof() && end.eof()).then_some(next)
}

/// Skips an item: up to a semicolon, or to braces and a semicolon that follows them. The name, if it is a module's.
/// Where this ends too early, what is left counts.
fn skip_item(mut at: Cursor<'_>) -> (Option<String>, Cursor<'_>) {
    while let Some((_, _, _, next)) = punct(at, '#').and_then(Cursor::any_group) {
        at = next;
    }
    at = after_visibility(at).or_else(|| after_word(at, "pub")).unwrap_or(at);
    let name = after_word(at, "mod").and_then(Cursor::ident).map(|(name, _)| name_of(&name));
    while let Some((tree, next)) = at.token_tree() {
        if punct(at, ';').is_some() {
            return (name, next);
        }
        if at.any_group().is_some() && tree.to_string().starts_with('{') {
            return (name, punct(next, ';').unwrap_or(next));
        }
        at = next;
    }
    (name, at)
}
