// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Installing;

/// <summary>Steps that are taken back, the last one first, when a later one fails.</summary>
internal sealed class UndoableSteps
{
    private readonly List<string> _done = [];
    private readonly Stack<(string Text, Func<ValueTask> Undo)> _undos = new();

    /// <summary>The steps, in their order.</summary>
    public IReadOnlyList<string> Done => _done;

    /// <summary>Notes a step that is done.</summary>
    /// <param name="text">A sentence.</param>
    /// <param name="undo">Takes it back; null for a step that leaves nothing.</param>
    public void Note(string text, Func<ValueTask>? undo = null)
    {
        _done.Add(text);
        if (undo is not null)
        {
            _undos.Push((text, undo));
        }
    }

    /// <summary>Takes the steps back and says so.</summary>
    /// <returns>The failure, with the steps that could not be taken back.</returns>
    public async ValueTask<BlockException> UndoAsync(BlockException failure)
    {
        List<string> left = [];
        while (_undos.TryPop(out (string Text, Func<ValueTask> Undo) step))
        {
            try
            {
                await step.Undo().ConfigureAwait(false);
            }
            catch (BlockException e)
            {
                left.Add($"{step.Text} That could not be undone: {e.Message}");
            }
        }

        string rest = left.Count == 0 ? "The system is as it was before." : string.Join(' ', left);
        return new BlockException(failure.Kind, $"{failure.Message} {rest}", failure.Path, operation: failure.Operation, cause: failure);
    }
}
