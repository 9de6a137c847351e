// Package chattemplate renders the chat templates of language models: the part
// of Jinja2 that they use, with the result of Jinja2 3.1 as Hugging Face
// transformers sets it up (sandboxed, trim_blocks, lstrip_blocks, loop controls,
// its own tojson, raise_exception and strftime_now), byte for byte.
//
// Where it cannot give that result it gives an error. A tag, filter or test that
// it does not know is refused by Parse, by name and line; a method or a value that
// it does not handle as Python does is refused by Render. A template that is
// rendered nearly right gives a model a prompt it was not trained on, which nobody
// notices.
//
// Templates are programs of strangers. They reach nothing but the values that
// Render is given: there are no attributes but a fixed list of methods, and steps,
// bytes, nesting and output are limited.
package chattemplate
