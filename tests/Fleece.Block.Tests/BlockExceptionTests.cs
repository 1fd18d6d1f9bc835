// SPDX-License-Identifier: MIT
using Xunit;

namespace Fleece.Block.Tests;

public sealed class BlockExceptionTests
{
    [Fact]
    public void An_exception_names_its_file_once_and_tells_its_root_kind()
    {
        BlockException cause = new(BlockErrors.NoSpace, "The volume is full.", "/a/temp");
        BlockException broken = new(BlockErrors.Broken, "The session '/a/temp' broke.", "/a/temp", cause: cause);

        Assert.Equal("The volume is full. File: '/a/temp'.", cause.Message);
        Assert.Equal("The session '/a/temp' broke.", broken.Message);
        Assert.Equal(BlockErrors.NoSpace, broken.RootKind);
        Assert.Equal(BlockErrors.NoSpace, cause.RootKind);
    }
}
