// Train fine-tunes a model on a mesh, from Go.
//
//	train recipe.yaml key=value...
//
// ranks=4: four ranks on goroutines of this process. No ranks: one rank of a launcher (torchrun, mpirun, srun), or alone.
// Rank 0 prints `loss STEP VALUE`. With output.dir the run ends with a checkpoint and a Hugging Face directory;
// output.resume=true goes on from that checkpoint. The same program in other languages: docs/languages.md.
package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"tessera"
)

// openModel starts from a checkpoint (model.path), or from the config.json named by model.config with random weights.
func openModel(setting func(string) string) (*tessera.Model, error) {
	if setting("model.config") == "" {
		return tessera.OpenModel(setting("model.path"))
	}
	json, err := os.ReadFile(setting("model.config"))
	if err != nil {
		return nil, err
	}
	return tessera.NewModel(string(json))
}

// runRank is one rank: mesh, model, trainer, data, the loop, and the trained model as a Hugging Face directory.
func runRank(world *tessera.World, config *tessera.Config) error {
	setting := func(key string) string { value, _ := config.Get(key); return value }
	rank, err := world.Rank()
	if err != nil {
		return err
	}
	layout, err := tessera.MeshOptionsFrom(config)
	if err != nil {
		return err
	}
	mesh, err := tessera.NewMesh(world, layout)
	if err != nil {
		return err
	}
	defer mesh.Close()
	model, err := openModel(setting)
	if err != nil {
		return err
	}
	defer model.Close()
	trainer, err := tessera.NewTrainer(mesh, model, config)
	if err != nil {
		return err
	}
	defer trainer.Close()
	data, err := tessera.OpenDataset(config, mesh, model)
	if err != nil {
		return err
	}
	defer data.Close()

	output := setting("output.dir")
	if setting("output.resume") == "true" {
		if err := trainer.Load(output+"/checkpoint", data); err != nil {
			return err
		}
	}
	for metrics, err := range trainer.Steps(data) {
		if err != nil {
			return err
		}
		if rank == 0 {
			fmt.Printf("loss %d %.17g\n", metrics.Step, metrics.Loss)
		}
	}
	if output == "" {
		return nil
	}
	if err := trainer.Save(output+"/checkpoint", data); err != nil {
		return err
	}
	return trainer.Export(output, "")
}

func run(words []string) error {
	config, err := tessera.NewConfig()
	if err != nil {
		return err
	}
	defer config.Close()
	for _, word := range words { // a recipe, then key=value pairs that override it
		if key, value, ok := strings.Cut(word, "="); ok {
			err = config.Set(key, value)
		} else {
			err = config.Load(word)
		}
		if err != nil {
			return err
		}
	}
	options, err := tessera.WorldOptionsFrom(config)
	if err != nil {
		return err
	}
	work := func(world *tessera.World) error { return runRank(world, config) }
	if ranks, _ := config.Get("ranks"); ranks != "" {
		size, _ := strconv.Atoi(ranks)
		return tessera.Run(size, options, work)
	}
	world, err := tessera.NewWorldFromEnvironment(options)
	if err != nil {
		return err
	}
	defer world.Close()
	return tessera.RunRank(world, work)
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		var failure *tessera.Error
		if errors.As(err, &failure) {
			fmt.Fprintf(os.Stderr, "%s: %s\n", failure.Code.String(), failure.Message)
		} else {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
}
