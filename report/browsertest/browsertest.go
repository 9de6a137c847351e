// Package browsertest opens pages in a headless Chromium, so that tests can ask what is
// drawn, click, and see what a page asks of the network. It speaks the browser's debugging
// protocol over a pipe, and is for tests only.
package browsertest

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// names of the programs that will do, the smallest first.
var names = []string{"chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
	"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome", "/Applications/Chromium.app/Contents/MacOS/Chromium"}

// find returns the browser that $ZMLX_CHROMIUM names, or one that is installed.
func find(t testing.TB) string {
	if named := os.Getenv("ZMLX_CHROMIUM"); named != "" {
		return named
	}
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("needs Chromium (apt-get install chromium-headless-shell, or ZMLX_CHROMIUM names one)")
	return ""
}

// wait is how long the browser may take for anything, on a machine that is shared.
const wait = 60 * time.Second

// Page is a page that is open.
type Page struct {
	t       testing.TB
	in      io.Writer
	session string
	url     string

	mu       sync.Mutex
	next     int
	waiting  map[int]chan message
	loaded   chan struct{}
	requests []string
	errors   []string
}

type message struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// Open opens a file in a browser of its own, which ends with the test. The test is skipped
// if there is no Chromium.
func Open(t testing.TB, file string) *Page {
	t.Helper()
	program := find(t)
	file, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: the browser may still write there for a moment when the test ends.
	profile, err := os.MkdirTemp("", "zmlx-browser-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) })
	toR, toW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	fromR, fromW, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND", "--force-prefers-color-scheme=light", "--hide-scrollbars", "--window-size=1100,900",
		"--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	cmd.ExtraFiles = []*os.File{toR, fromW} // it reads 3 and writes 4
	cmd.Stderr = &stderr
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatalf("%s: %v", program, err)
	}
	toR.Close()
	fromW.Close()
	p := &Page{t: t, in: toW, waiting: map[int]chan message{}, loaded: make(chan struct{}, 1)}
	done := make(chan struct{})
	go func() { p.listen(fromR); close(done) }()
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		toW.Close()
		<-done
		fromR.Close()
		if t.Failed() {
			t.Logf("the browser's messages:\n%s", stderr.String())
		}
	})
	var target struct {
		TargetID string `json:"targetId"`
	}
	p.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct {
		SessionID string `json:"sessionId"`
	}
	p.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	p.session = attached.SessionID
	for _, domain := range []string{"Page", "Network", "Runtime", "Log"} {
		p.call(domain+".enable", nil, nil)
	}
	p.url = (&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String()
	p.call("Page.navigate", map[string]any{"url": p.url}, nil)
	select {
	case <-p.loaded:
	case <-time.After(wait):
		t.Fatalf("%s was not loaded within %v", file, wait)
	}
	return p
}

// listen reads what the browser says: messages that end with a zero byte.
func (p *Page) listen(r io.Reader) {
	br := bufio.NewReaderSize(r, 1<<16)
	for {
		data, err := br.ReadBytes(0)
		if err != nil {
			p.mu.Lock()
			for id, c := range p.waiting {
				close(c)
				delete(p.waiting, id)
			}
			p.mu.Unlock()
			return
		}
		var m message
		if json.Unmarshal(data[:len(data)-1], &m) != nil {
			continue
		}
		p.mu.Lock()
		if c, ok := p.waiting[m.ID]; ok && m.ID > 0 {
			delete(p.waiting, m.ID)
			c <- m
		}
		p.mu.Unlock()
		p.event(&m)
	}
}

func (p *Page) event(m *message) {
	var e struct {
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Entry struct {
			Level, Text, URL string
		} `json:"entry"`
		ExceptionDetails json.RawMessage `json:"exceptionDetails"`
	}
	json.Unmarshal(m.Params, &e)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch m.Method {
	case "Page.loadEventFired":
		select {
		case p.loaded <- struct{}{}:
		default:
		}
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	case "Log.entryAdded":
		if e.Entry.Level == "error" {
			p.errors = append(p.errors, e.Entry.Text)
		}
	case "Runtime.exceptionThrown":
		p.errors = append(p.errors, string(e.ExceptionDetails))
	}
}

// call asks the browser for something.
func (p *Page) call(method string, params any, into any) {
	p.t.Helper()
	if params == nil {
		params = struct{}{}
	}
	answer := make(chan message, 1)
	p.mu.Lock()
	p.next++
	request := map[string]any{"id": p.next, "method": method, "params": params}
	if p.session != "" {
		request["sessionId"] = p.session
	}
	p.waiting[p.next] = answer
	p.mu.Unlock()
	data, err := json.Marshal(request)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.in.Write(append(data, 0)); err != nil {
		p.t.Fatalf("%s: %v", method, err)
	}
	select {
	case m, ok := <-answer:
		if !ok {
			p.t.Fatalf("%s: the browser ended", method)
		}
		if m.Error != nil {
			p.t.Fatalf("%s: %s", method, m.Error.Message)
		}
		if into != nil {
			if err := json.Unmarshal(m.Result, into); err != nil {
				p.t.Fatalf("%s: %v", method, err)
			}
		}
	case <-time.After(wait):
		p.t.Fatalf("%s: no answer within %v", method, wait)
	}
}

// Eval evaluates a JavaScript expression and returns its value in v.
func (p *Page) Eval(expression string, v any) {
	p.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		ExceptionDetails *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	p.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.ExceptionDetails != nil {
		p.t.Fatalf("%s: %s %s", expression, r.ExceptionDetails.Text, r.ExceptionDetails.Exception.Description)
	}
	if v == nil {
		return
	}
	if err := json.Unmarshal(r.Result.Value, v); err != nil {
		p.t.Fatalf("%s: %s: %v", expression, r.Result.Value, err)
	}
}

// drawn says whether an element is on the page, in nothing that is closed, and has a size.
const drawn = `e => { const r = e.getBoundingClientRect(); return e.checkVisibility() && (r.width > 0 || r.height > 0) }`

// Count counts the elements that match a selector and are drawn.
func (p *Page) Count(selector string) (n int) {
	p.t.Helper()
	p.Eval(fmt.Sprintf(`[...document.querySelectorAll(%q)].filter(%s).length`, selector, drawn), &n)
	return n
}

// Texts returns the text of the elements that match a selector and are drawn.
func (p *Page) Texts(selector string) (list []string) {
	p.t.Helper()
	p.Eval(fmt.Sprintf(`[...document.querySelectorAll(%q)].filter(%s).map(e => e.textContent)`, selector, drawn), &list)
	return list
}

// Click clicks with the mouse in the middle of the first element that matches a selector.
func (p *Page) Click(selector string) {
	p.t.Helper()
	var at []float64
	p.Eval(fmt.Sprintf(`(() => { const e = document.querySelector(%q); if (!e) return []; e.scrollIntoView({block: "center"}); const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2] })()`, selector), &at)
	if len(at) != 2 {
		p.t.Fatalf("nothing on the page matches %s", selector)
	}
	for _, kind := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", map[string]any{"type": kind, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
	}
}

// Requests are the addresses that the page asked for, itself not counted.
func (p *Page) Requests() (out []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.requests {
		if r != p.url && r != "about:blank" {
			out = append(out, r)
		}
	}
	return out
}

// Errors are what the page wrote to the console as errors, and exceptions.
func (p *Page) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.errors...)
}

// Screenshot writes the whole page as PNG.
func (p *Page) Screenshot(file string) {
	p.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	p.call("Page.captureScreenshot", map[string]any{"format": "png", "captureBeyondViewport": true, "clip": p.all()}, &shot)
	data, err := base64.StdEncoding.DecodeString(shot.Data)
	if err == nil {
		err = os.WriteFile(file, data, 0o644)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("screenshot: %s", file)
}

// all is the whole page, up to a height that a picture can have.
func (p *Page) all() map[string]any {
	var m struct {
		Size struct {
			Width, Height float64
		} `json:"cssContentSize"`
	}
	p.call("Page.getLayoutMetrics", nil, &m)
	return map[string]any{"x": 0, "y": 0, "width": m.Size.Width, "height": min(m.Size.Height, 8000), "scale": 1}
}
