// Render a chart as Helm does, with the libraries that Helm itself uses: text/template, Sprig and sigs.k8s.io/yaml.
//
// Usage: render CHART_FOLDER CONTEXT.json; prints one JSON object: the text of each template by its path.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
	"sigs.k8s.io/yaml"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(chart string, contextFile string) error {
	context := map[string]any{}
	data, err := os.ReadFile(contextFile)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, &context); err != nil {
		return err
	}
	set := template.New("chart").Option("missingkey=error")
	functions := sprig.TxtFuncMap()
	delete(functions, "env")
	delete(functions, "expandenv")
	functions["toYaml"] = func(value any) (string, error) {
		text, err := yaml.Marshal(value)
		return strings.TrimSuffix(string(text), "\n"), err
	}
	functions["include"] = func(name string, value any) (string, error) {
		var out strings.Builder
		err := set.ExecuteTemplate(&out, name, value)
		return out.String(), err
	}
	functions["required"] = func(message string, value any) (any, error) {
		if value == nil || value == "" {
			return nil, errors.New(message)
		}
		return value, nil
	}
	set.Funcs(functions)
	paths := []string{}
	root := filepath.Join(chart, "templates")
	err = filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		paths = append(paths, name)
		_, err = set.New(name).Parse(string(text))
		return err
	})
	if err != nil {
		return err
	}
	rendered := map[string]string{}
	for _, name := range paths {
		if strings.HasPrefix(filepath.Base(name), "_") {
			continue
		}
		var out strings.Builder
		if err := set.ExecuteTemplate(&out, name, context); err != nil {
			return err
		}
		rendered[name] = out.String()
	}
	return json.NewEncoder(os.Stdout).Encode(rendered)
}
