// SPDX-License-Identifier: MIT
using System.Text.RegularExpressions;
using Xunit;

namespace Fleece.Block.Tests;

public sealed class BlockErrorTableTests
{
    [Fact]
    public void Every_kind_has_a_row()
    {
        foreach (BlockErrorKind kind in Enum.GetValues<BlockErrorKind>())
        {
            Assert.Equal(kind, BlockErrorTable.Find(kind).Kind);
        }

        Assert.Equal(Enum.GetValues<BlockErrorKind>().Length, BlockErrorTable.Rows.Count);
    }

    [Fact]
    public void No_two_kinds_share_an_error_id() =>
        Assert.Distinct(BlockErrorTable.Rows.Select(row => row.ErrorId), StringComparer.OrdinalIgnoreCase);

    [Fact]
    public void Error_ids_are_letters_and_begin_with_a_capital() =>
        Assert.All(BlockErrorTable.Rows, row => Assert.Matches(new Regex("^[A-Z][A-Za-z]+$"), row.ErrorId));

    [Fact]
    public void An_exception_names_its_file_once_and_tells_its_root_kind()
    {
        BlockException cause = new(BlockErrorKind.NoSpace, "The volume is full.", "/a/temp");
        BlockException broken = new(BlockErrorKind.Broken, "The session '/a/temp' broke.", "/a/temp", cause: cause);

        Assert.Equal("The volume is full. File: '/a/temp'.", cause.Message);
        Assert.Equal("The session '/a/temp' broke.", broken.Message);
        Assert.Equal(BlockErrorKind.NoSpace, broken.RootKind);
        Assert.Equal(BlockErrorKind.NoSpace, cause.RootKind);
    }
}
