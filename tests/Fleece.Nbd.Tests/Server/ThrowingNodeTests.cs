// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Nbd.Wire;

namespace Fleece.Nbd.Tests.Server;

/// <summary>Storage that fails at once, with whatever exception.</summary>
public sealed class ThrowingNodeTests
{
    [Fact]
    public async Task The_text_of_an_error_is_cut_where_it_is_too_long()
    {
        await using ServedDisk disk = new(new ThrowingNode(new BlockException(BlockErrors.IoFailed, new string('\u20ac', 5000))));
        using RawClient client = disk.Go(HeaderMode.Structured);

        Answer answer = client.Call((int)NbdCommand.Read, 0, 512);

        Assert.Equal(NbdError.Io, answer.Error);
        Assert.Equal(new string('\u20ac', answer.Text.Length), answer.Text);
        Assert.InRange(answer.Text.Length, 300, 1365);
    }

    [Theory]
    [InlineData(HeaderMode.Simple)]
    [InlineData(HeaderMode.Structured)]
    public async Task A_defect_of_a_node_is_an_IO_error_of_that_request(HeaderMode mode)
    {
        await using ServedDisk disk = new(new ThrowingNode(new InvalidOperationException("a defect")));
        using RawClient client = disk.Go(mode);

        Assert.Equal(NbdError.Io, client.Call((int)NbdCommand.Read, 0, 512).Error);
        Assert.Equal(NbdError.Io, client.Write(0, new byte[512]).Error);
        Assert.Equal(NbdError.Io, client.Call((int)NbdCommand.WriteZeroes, 0, 512).Error);
        Assert.Equal(NbdError.Io, client.Call((int)NbdCommand.Flush, 0, 0).Error);
    }
}
