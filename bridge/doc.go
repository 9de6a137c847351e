// Package bridge turns a step of a captured model into Python functions, for the package
// zmlx_rewrite that stands in python/.
//
// A capture of that package holds a step that is cut wherever a cache is touched: what
// Python does there are events, the arrays that events take are outputs of the capture, and
// what events give are inputs. [Cut] gives each node to the stage in which it can run first:
// a stage is what runs before an event that takes arrays. [Write] writes each stage as one
// function of mlx.core's operations, and stages of equal text, constants included, share
// one.
//
// The package knows neither rules nor engines, and runs no Python. What has no spelling in
// mlx.core is an error with the node's place in the model.
package bridge
