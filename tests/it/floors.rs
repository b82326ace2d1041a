//! Imports point one way: from the engine's edges down to the pure floor, and every crate stays where it belongs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use syn::{UseTree, spanned::Spanned, visit::Visit};

/// The floor of each module. A module sees those below it; on the ground floor, all of its neighbours.
const FLOORS: &[(&str, u8)] = &[
    ("bulkhead", 0),
    ("chaos", 0),
    ("clock", 0),
    ("json", 0),
    ("chat", 0),
    ("agent", 0),
    ("yaml", 0),
    ("repair", 0),
    ("run", 0),
    ("show", 0),
    ("waiting", 0),
    ("store", 1),
    ("provider", 1),
    ("mcp", 1),
    ("journal", 2),
    ("router", 2),
    ("engine", 3),
    ("daemon", 4),
    ("server", 5),
    ("cli", 6),
];

/// Crates that one module keeps to itself.
const KEPT: &[(&str, &str)] = &[
    ("rmcp", "mcp"),
    ("agentd_files", "mcp"),
    ("sled", "store"),
    ("async_openai", "provider"),
    ("reqwest", "provider"),
    ("sse_stream", "server"),
    ("axum", "server"),
    ("hyper", "server"),
    ("clap", "cli"),
    ("anyhow", "cli"),
    ("indicatif", "cli"),
];

/// What the ground floor knows nothing of.
const NOT_ON_THE_GROUND: &[&str] = &["tokio", "reqwest", "rustix", "sled", "rmcp"];

struct Paths {
    /// Line and segments of each path that is used.
    found: Vec<(usize, Vec<String>)>,
}

impl Paths {
    fn tree(&mut self, before: &[String], tree: &UseTree) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(part) => {
                path.push(part.ident.to_string());
                self.tree(&path, &part.tree);
            }
            UseTree::Group(group) => group.items.iter().for_each(|item| self.tree(before, item)),
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                self.found.push((tree.span().start().line, path));
            }
            UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                self.found.push((tree.span().start().line, path));
            }
            UseTree::Glob(_) => self.found.push((tree.span().start().line, path)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        // Tests may look wherever they like.
        let test = module.attrs.iter().any(|attr| attr.path().is_ident("cfg"));
        if !test {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.push((path.span().start().line, segments));
        syn::visit::visit_path(self, path);
    }
}

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// What is wrong with one path used in `module`; `None` when nothing is.
fn offence(module: &str, path: &[String]) -> Option<String> {
    let floor = |name: &str| FLOORS.iter().find(|(module, _)| *module == name).map(|(_, floor)| *floor);
    let own = floor(module)?;
    let first = path.first()?.as_str();
    if first == "crate" {
        let other = path.get(1)?.as_str();
        let theirs = floor(other)?;
        let allowed = other == module || theirs < own || (own == 0 && theirs == 0);
        return (!allowed).then(|| format!("{module} (floor {own}) must not know {other} (floor {theirs})"));
    }
    if let Some((kept, home)) = KEPT.iter().find(|(kept, _)| *kept == first)
        && *home != module
        && path.len() > 1
    {
        return Some(format!("the crate {kept} belongs to {home}, not to {module}"));
    }
    (own == 0 && path.len() > 1 && NOT_ON_THE_GROUND.contains(&first) && module != "chaos")
        .then(|| format!("{module} is on the ground floor, which knows no {first}"))
}

#[test]
fn imports_follow_the_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "only {} source files found below {}", files.len(), src.display());
    let mut offences = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&src).unwrap();
        let Some(module) = inside.components().next().and_then(|first| Path::new(first.as_os_str()).file_stem()) else {
            continue;
        };
        let name = file.file_stem().unwrap().to_string_lossy();
        if inside.components().any(|part| part.as_os_str() == "tests") || matches!(&*name, "tests" | "golden") {
            continue;
        }
        let parsed = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
        let mut paths = Paths { found: Vec::new() };
        paths.visit_file(&parsed);
        for (line, path) in paths.found {
            if let Some(offence) = offence(&module.to_string_lossy(), &path) {
                offences.push(format!("src/{}:{line}: {offence}", inside.display()));
            }
        }
    }
    offences.dedup();
    assert!(offences.is_empty(), "imports that point the wrong way:\n{}", offences.join("\n"));
}

#[test]
fn an_upward_import_is_named() {
    let path = |text: &str| text.split("::").map(str::to_owned).collect::<Vec<_>>();
    assert!(offence("run", &path("crate::engine::Stop")).unwrap().contains("must not know engine"));
    assert!(offence("store", &path("crate::provider::Class")).unwrap().contains("must not know provider"));
    assert!(offence("engine", &path("rmcp::model")).unwrap().contains("belongs to mcp"));
    assert!(offence("chat", &path("tokio::spawn")).unwrap().contains("ground floor"));
    assert_eq!(offence("engine", &path("crate::run::Run")), None);
    assert_eq!(offence("run", &path("crate::repair::clip")), None);
}
