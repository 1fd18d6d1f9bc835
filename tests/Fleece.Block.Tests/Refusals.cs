// SPDX-License-Identifier: MIT
using Xunit;

namespace Fleece.Block.Tests;

/// <summary>Asserts that something fails with a kind of error, whether at once or when awaited.</summary>
internal static class Refusals
{
    public static BlockException Throws(string kind, Action action)
    {
        BlockException exception = Assert.Throws<BlockException>(action);
        Assert.Equal(kind, exception.Kind);
        return exception;
    }

    public static async Task<BlockException> ThrowsAsync(string kind, Func<ValueTask> action)
    {
        BlockException exception = await Assert.ThrowsAsync<BlockException>(async () => await action());
        Assert.Equal(kind, exception.Kind);
        return exception;
    }
}
