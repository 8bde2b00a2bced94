// The reference evaluator behind JSON lines: one pair of condition and result in, one verdict out, in order.
//
// With -bench it measures itself instead: evaluations, parses and compilations a second of one condition.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"reflect"
	"strconv"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

type question struct {
	Condition  string          `json:"condition"`
	ResultType string          `json:"resultType"`
	Result     json.RawMessage `json:"result"`
}

type answer struct {
	Verdict any    `json:"verdict"`
	Message string `json:"message,omitempty"`
}

func number(raw json.RawMessage) (float64, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		switch text {
		case "NaN":
			return math.NaN(), nil
		case "+Inf":
			return math.Inf(1), nil
		case "-Inf":
			return math.Inf(-1), nil
		}
		return 0, fmt.Errorf("%q is no number", text)
	}
	var value float64
	err := json.Unmarshal(raw, &value)
	return value, err
}

// measured makes the Go value that a provider would hand over.
func measured(q question) (any, error) {
	switch q.ResultType {
	case "float":
		return number(q.Result)
	case "int":
		var value int
		err := json.Unmarshal(q.Result, &value)
		return value, err
	case "floats":
		var items []json.RawMessage
		if err := json.Unmarshal(q.Result, &items); err != nil {
			return nil, err
		}
		list := make([]float64, 0, len(items))
		for _, item := range items {
			value, err := number(item)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		return list, nil
	case "maplist":
		rows := []map[string]any{}
		err := json.Unmarshal(q.Result, &rows)
		return rows, err
	case "json":
		var value any
		err := json.Unmarshal(q.Result, &value)
		return value, err
	case "string":
		var text string
		err := json.Unmarshal(q.Result, &text)
		return text, err
	case "nil":
		return nil, nil
	case "nilptr":
		return (*float64)(nil), nil
	}
	return nil, fmt.Errorf("%q is no type of result", q.ResultType)
}

func nothing(value any) bool {
	if value == nil {
		return true
	}
	switch v := reflect.ValueOf(value); v.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		return v.IsNil()
	default:
		return false
	}
}

func pointed(value any) any {
	v := reflect.ValueOf(value)
	if v.Kind() != reflect.Pointer {
		return value
	}
	if v.IsNil() {
		return nil
	}
	return v.Elem().Interface()
}

func asInt(value any) int64 {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return int64(v.Float())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Type().PkgPath() == "" {
			return v.Int()
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return int64(v.Uint())
	case reflect.String:
		parsed, err := strconv.ParseInt(v.String(), 10, 64)
		if err != nil {
			panic(err)
		}
		return parsed
	}
	panic(fmt.Sprintf("asInt() not supported on %v %v", reflect.TypeOf(value), value))
}

func asFloat(value any) float64 {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Float32, reflect.Float64:
		return v.Float()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if v.Type().PkgPath() == "" {
			return float64(v.Int())
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return float64(v.Uint())
	case reflect.String:
		parsed, err := strconv.ParseFloat(v.String(), 64)
		if err != nil {
			panic(err)
		}
		return parsed
	}
	panic(fmt.Sprintf("asFloat() not supported on %v %v", reflect.TypeOf(value), value))
}

func environment(value any) map[string]any {
	return map[string]any{
		"result":  pointed(value),
		"isNaN":   math.IsNaN,
		"isInf":   func(f float64) bool { return math.IsInf(f, 0) },
		"isNil":   func(any) bool { return nothing(value) },
		"asInt":   asInt,
		"asFloat": asFloat,
		"default": func(_ any, otherwise any) any {
			if nothing(value) {
				return otherwise
			}
			return pointed(value)
		},
	}
}

func bare(err error) error {
	var located *file.Error
	if errors.As(err, &located) {
		return errors.New(located.Message)
	}
	return err
}

func evaluate(condition string, value any) (verdict bool, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the reference itself panicked: %v", r)
		}
	}()
	env := environment(value)
	program, err := expr.Compile(condition, expr.Env(env))
	if err != nil {
		return false, bare(err)
	}
	output, err := expr.Run(program, env)
	if err != nil {
		return false, bare(err)
	}
	verdict, ok := output.(bool)
	if !ok {
		return false, fmt.Errorf("expected bool, but got %T", output)
	}
	return verdict, nil
}

func respond(line []byte) answer {
	var q question
	if err := json.Unmarshal(line, &q); err != nil {
		return answer{"error", "bad question: " + err.Error()}
	}
	value, err := measured(q)
	if err != nil {
		return answer{"error", "bad question: " + err.Error()}
	}
	verdict, err := evaluate(q.Condition, value)
	if err != nil {
		return answer{"error", err.Error()}
	}
	return answer{Verdict: verdict}
}

// bench prints evaluations, parses alone, and parses with compilation a second, as one JSON object.
func bench(condition string, seconds float64) error {
	env := environment([]float64{0.01})
	program, err := expr.Compile(condition, expr.Env(env))
	if err != nil {
		return err
	}
	machine := vm.VM{}
	config := conf.CreateNew()
	rates := map[string]float64{}
	for name, work := range map[string]func() error{
		"evaluations":  func() error { _, err := machine.Run(program, env); return err },
		"parses":       func() error { _, err := parser.ParseWithConfig(condition, config); return err },
		"compilations": func() error { _, err := expr.Compile(condition, expr.Env(env)); return err },
	} {
		begin, count := time.Now(), 0
		for time.Since(begin).Seconds() < seconds {
			for i := 0; i < 1000; i++ {
				if err := work(); err != nil {
					return err
				}
			}
			count += 1000
		}
		rates[name] = float64(count) / time.Since(begin).Seconds()
	}
	return json.NewEncoder(os.Stdout).Encode(rates)
}

func main() {
	condition := flag.String("bench", "", "measure this condition instead of answering")
	seconds := flag.Float64("seconds", 2, "how long each measurement takes")
	flag.Parse()
	if *condition != "" {
		if err := bench(*condition, *seconds); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	encoder := json.NewEncoder(out)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 1 {
			if err := encoder.Encode(respond(line)); err != nil {
				os.Exit(1)
			}
		}
		// Answers go out when no question waits, so that neither side waits for the other.
		if in.Buffered() == 0 {
			if out.Flush() != nil {
				os.Exit(1)
			}
		}
		if err != nil {
			return
		}
	}
}
