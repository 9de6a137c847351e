package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"zmlx-rewrite/diag"
	"zmlx-rewrite/kernels"
	"zmlx-rewrite/models"
)

// helpful makes issues of the errors that cobra finds in a command line, so that each says what
// to do next.
func helpful(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return wrongArgs(c, args, err)
			}
			return nil
		}
	}
	c.SetFlagErrorFunc(wrongFlag)
	for _, sub := range c.Commands() {
		helpful(sub)
	}
}

// wrongArgs is about arguments that a command does not take, or lacks.
func wrongArgs(c *cobra.Command, args []string, err error) error {
	if c.HasAvailableSubCommands() && len(args) > 0 {
		var names []string
		for _, sub := range c.Commands() {
			if sub.IsAvailableCommand() {
				names = append(names, sub.Name())
			}
		}
		issue := diag.Errorf("usage/command", diag.Pos{}, "unknown command %q for %q", args[0], c.CommandPath())
		if near := diag.Nearest(args[0], names); near != "" {
			return issue.WithHint("did you mean %s %s? %s --help lists them all", c.CommandPath(), near, c.CommandPath())
		}
		return issue.WithHint("%s --help lists its commands", c.CommandPath())
	}
	text := err.Error()
	if strings.HasPrefix(text, "unknown command") { // cobra's words for an argument too many
		return diag.Errorf("usage/args", diag.Pos{}, "%s takes no argument %q", c.CommandPath(), args[0]).
			WithHint("%s; --help lists the flags", c.UseLine())
	}
	hint := c.UseLine()
	for word, lists := range map[string]string{" RULE": "rules list", " KERNEL": "kernels list"} {
		if strings.Contains(c.Use, word) {
			hint += "; zmlx-rewrite " + lists + " shows all"
		}
	}
	return diag.Errorf("usage/args", diag.Pos{}, "%s %s", c.CommandPath(), text).WithHint("%s", hint)
}

// unknownFlag finds the flag in pflag's error.
var unknownFlag = regexp.MustCompile(`^unknown flag: --(\S+)`)

// wrongFlag is about a flag that a command does not have, or a value that it does not take.
func wrongFlag(c *cobra.Command, err error) error {
	issue := diag.Errorf("usage/flag", diag.Pos{}, "%v", err)
	lists := c.CommandPath() + " --help lists the flags"
	if m := unknownFlag.FindStringSubmatch(err.Error()); m != nil {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, f.Name)
			}
		})
		slices.Sort(names)
		if near := diag.Nearest(m[1], names); near != "" {
			return issue.WithHint("did you mean --%s? %s", near, lists)
		}
	}
	return issue.WithHint("%s", lists)
}

// oneOf demands that a flag has one of some values.
func oneOf(flag, value string, list ...string) error {
	if slices.Contains(list, value) {
		return nil
	}
	what := "none of " + strings.Join(list, ", ")
	if len(list) == 2 {
		what = "neither " + list[0] + " nor " + list[1]
	}
	issue := diag.Errorf("usage/"+flag, diag.Pos{}, "--%s %q is %s", flag, value, what)
	if near := diag.Nearest(value, list); near != "" {
		return issue.WithHint("did you mean --%s %s?", flag, near)
	}
	return issue.WithHint("such as --%s %s", flag, list[0])
}

// needsModel is the error of a command that was not told which model to run.
func needsModel(command string) error {
	return diag.Errorf("usage/"+command, diag.Pos{}, "%s needs --model", command).
		WithHint("name one that has weights: --model FOLDER, as from Hugging Face or mlx-lm, or --model FILE.gguf")
}

// noKernel is the error of a name that no kernel has.
func noKernel(c *kernels.Catalog, name string) error {
	var names []string
	for _, s := range c.All() {
		names = append(names, s.Name)
	}
	issue := diag.Errorf("usage/kernel", diag.Pos{}, "no kernel %q", name)
	if near := diag.Nearest(name, names); near != "" {
		return issue.WithHint("did you mean %s?", near)
	}
	return issue.WithHint("zmlx-rewrite kernels list shows all kernels")
}

// noSite is the error of a place that no node is at.
func noSite(site string) error {
	return diag.Errorf("usage/site", diag.Pos{}, "no node is at %q", site).WithHint("sites are named as in the model: model.layers.3.mlp; zmlx-rewrite graph prints them behind @")
}

// wrongLine makes issues of what cobra finds in a command line as a whole.
func wrongLine(c *cobra.Command, err error) error {
	text := err.Error()
	switch group := groupOfFlags.FindStringSubmatch(text); {
	case strings.HasPrefix(text, "required flag(s) "):
		return diag.Errorf("usage/flag", diag.Pos{}, "%s needs --%s", c.CommandPath(), strings.Trim(strings.Fields(text)[2], `",`)).WithHint("%s --help lists the flags", c.CommandPath())
	case group != nil && strings.HasPrefix(text, "at least one"):
		return diag.Errorf("usage/flag", diag.Pos{}, "%s is not told what to make", c.CommandPath()).WithHint("give one of --%s", strings.ReplaceAll(group[1], " ", ", --"))
	case group != nil:
		return diag.Errorf("usage/flag", diag.Pos{}, "--%s exclude each other", strings.Join(strings.Fields(group[2]), " and --")).WithHint("give one of them")
	}
	return err
}

// groupOfFlags finds a group, and which of it were given, in cobra's errors.
var groupOfFlags = regexp.MustCompile(`flags in the group \[([^\]]*)\](?:.*\[([^\]]*)\])?`)

// whereToWrite is the hint of an issue about a file that could not be written, which says why as
// the system does.
func whereToWrite(i *diag.Issue) string {
	if i.Pos.File == stdoutName {
		return "what was printed is not complete"
	}
	dir := filepath.Dir(i.Pos.File)
	if _, err := os.Stat(dir); os.IsNotExist(err) {
		return "there is no folder " + dir + ": make it, or name a file elsewhere"
	}
	for _, why := range []string{"permission denied", "read-only file system"} {
		if strings.Contains(i.Message, why) {
			return "name a file in a folder that you may write into"
		}
	}
	if strings.Contains(i.Message, "no space left") {
		return "make room there, or name a file elsewhere; nothing was left half written"
	}
	return ""
}

// stdoutName stands for the name of a file in issues about standard output.
const stdoutName = "standard output"

// absent are the codes of errors about a file or folder that may not be there.
var absent = []string{"file/open", "file/read", "file/stat", "home/missing", "kernel/dir", "weights/open", "mlxfn/read"}

// whereToLook is the hint of an issue about a file that is not there: one that has a name like
// it, or where it was looked for; else the hint that it has.
func whereToLook(i *diag.Issue) string {
	if i.Code == "model/open" {
		if near := diag.Nearest(i.Pos.File, models.ReferenceNames()); near != "" {
			return "did you mean the reference configuration " + near + "? else " + i.Hint
		}
		return i.Hint
	}
	if i.Hint != "" {
		return i.Hint
	}
	if i.Code == "file/write" {
		return whereToWrite(i)
	}
	if i.Pos.File == "" || !slices.Contains(absent, i.Code) {
		return ""
	}
	if _, err := os.Lstat(i.Pos.File); !os.IsNotExist(err) {
		return ""
	}
	dir, name := filepath.Split(i.Pos.File)
	list, err := os.ReadDir(filepath.Clean(dir))
	if err != nil {
		return "there is no folder " + filepath.Clean(dir)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	if near := diag.Nearest(name, names); near != "" {
		return "did you mean " + filepath.Join(dir, near) + "?"
	}
	where, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	return "there is nothing of that name in " + where
}
