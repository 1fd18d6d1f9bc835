// SPDX-License-Identifier: MIT
using Fleece.Block;

namespace Fleece.Hosting.Tests.Rpc;

/// <summary>Calls over a real unix socket, with Fleece.Rpc at both ends.</summary>
public sealed class CallTests
{
    private static CancellationToken Stop => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_call_brings_the_answer_back()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        Assert.Equal(42, await pair.Client.CallAsync<int>("AddAsync", new { left = 40, right = 2 }, Stop));
    }

    [Fact]
    public async Task A_method_without_an_answer_can_be_waited_for()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        pair.Control.Release();

        Assert.Null(await pair.Client.CallAsync<object?>("BlockAsync", new { }, Stop));
    }

    [Fact]
    public async Task Both_ends_may_call()
    {
        await using RpcPair pair = await RpcPair.OpenAsync(clientControl: new TestControl());

        Assert.Equal(3, await pair.Host.CallAsync<int>("AddAsync", new { left = 1, right = 2 }, Stop));
        Assert.Equal(7, await pair.Client.CallAsync<int>("AddAsync", new { left = 3, right = 4 }, Stop));
    }

    [Fact]
    public async Task A_call_that_blocks_its_thread_keeps_no_other_waiting()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        Task blocked = pair.Client.CallAsync<object?>("BlockAsync", new { }, Stop).AsTask();
        await pair.Control.StartedAsync();

        Assert.Equal(2, await pair.Client.CallAsync<int>("AddAsync", new { left = 1, right = 1 }, Stop));
        Assert.False(blocked.IsCompleted);
        pair.Control.Release();
        await blocked;
    }

    [Fact]
    public async Task Events_come_in_the_order_in_which_they_were_told()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        for (int i = 0; i < 200; i++)
        {
            await pair.Client.NotifyAsync("Tell", new { number = i });
        }

        for (int i = 0; i < 200; i++)
        {
            Assert.Equal(i, await pair.Control.Told.Reader.ReadAsync(Stop));
        }
    }

    [Fact]
    public async Task An_error_of_the_engine_is_the_same_on_the_other_side()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        pair.Control.Error = new BlockException(
            BlockErrors.Broken,
            "The session is broken.",
            "/vm/a\tb.qcow2",
            4096,
            "write",
            new BlockException(BlockErrors.NoSpace, "The disk is full.", "/tmp/t"));

        BlockException error = await FailAsync(pair, "engine");

        Assert.Equal(pair.Control.Error.Kind, error.Kind);
        Assert.Equal(pair.Control.Error.Message, error.Message);
        Assert.Equal(pair.Control.Error.Path, error.Path);
        Assert.Equal(pair.Control.Error.OffsetBytes, error.OffsetBytes);
        Assert.Equal(pair.Control.Error.Operation, error.Operation);
        Assert.Equal(BlockErrors.NoSpace, error.RootKind);
        Assert.Equal(pair.Control.Error.InnerException!.Message, error.InnerException!.Message);
    }

    [Fact]
    public async Task An_error_of_a_kind_that_is_not_known_here_keeps_its_kind_and_text()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        pair.Control.Error = new BlockException("InventedInTheNextVersion", "A new thing failed.");

        BlockException error = await FailAsync(pair, "engine");

        Assert.Equal("InventedInTheNextVersion", error.Kind);
        Assert.Equal("A new thing failed.", error.Message);
    }

    [Fact]
    public async Task A_defect_of_the_host_is_told_without_its_stack()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        BlockException error = await FailAsync(pair, "defect");

        Assert.Equal(BlockErrors.InvariantBroken, error.Kind);
        Assert.Contains("The secret of this defect.", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(nameof(TestControl), error.ToString().Split("---", 2)[0], StringComparison.Ordinal);
        Assert.DoesNotContain("TestControl.cs", error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_cancellation_of_the_host_is_a_cancellation_here()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            async () => await pair.Client.CallAsync<object?>("FailAsync", new { how = "cancelled" }, Stop));
    }

    [Fact]
    public async Task A_call_that_is_cancelled_here_is_cancelled_on_the_other_side()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        using CancellationTokenSource source = new();
        Task<string> call = pair.Client.CallAsync<string>("WaitAsync", new { }, source.Token).AsTask();
        await pair.Control.StartedAsync();

        await source.CancelAsync();

        await pair.Control.Cancelled.Reader.ReadAsync(Stop);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => call);
        Assert.Equal(2, await pair.Client.CallAsync<int>("AddAsync", new { left = 1, right = 1 }, Stop));
    }

    [Fact]
    public async Task A_request_that_the_other_side_does_not_know_is_a_mismatch_of_versions()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await pair.Client.CallAsync<int>("InventedAsync", new { }, Stop));

        Assert.Equal(HostErrors.VersionMismatch, error.Kind);
        Assert.Contains("InventedAsync", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task An_answer_of_another_shape_is_a_mismatch_of_versions()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await pair.Client.CallAsync<Guid>("AddAsync", new { left = 1, right = 1 }, Stop));

        Assert.Equal(HostErrors.VersionMismatch, error.Kind);
    }

    [Fact]
    public async Task A_missing_argument_takes_null_or_the_default_value_and_an_unknown_one_is_ignored()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        Assert.Equal("none True 7", await pair.Client.CallAsync<string>("DescribeAsync", new { isForced = true, invented = 1 }, Stop));
    }

    [Fact]
    public async Task All_arguments_are_found_by_their_names()
    {
        await using RpcPair pair = await RpcPair.OpenAsync();

        Assert.Equal(
            "vm False 3",
            await pair.Client.CallAsync<string>("DescribeAsync", new { count = 3, isForced = false, disk = new DiskReference("vm") }, Stop));
    }

    [Theory]
    [InlineData("isForced", null)]
    [InlineData("isForced", "maybe")]
    public async Task An_argument_that_is_needed_and_missing_or_of_another_type_is_refused_by_its_name(string name, string? value)
    {
        await using RpcPair pair = await RpcPair.OpenAsync();
        object arguments = value is null ? new { count = 1 } : new { isForced = value };

        BlockException error = await Assert.ThrowsAsync<BlockException>(
            async () => await pair.Client.CallAsync<string>("DescribeAsync", arguments, Stop));

        Assert.Equal(BlockErrors.InvalidArgument, error.Kind);
        Assert.Contains(name, error.Message, StringComparison.Ordinal);
        Assert.Equal(0, pair.Control.CallCount);
    }

    private static async Task<BlockException> FailAsync(RpcPair pair, string how) =>
        await Assert.ThrowsAsync<BlockException>(async () => await pair.Client.CallAsync<object?>("FailAsync", new { how }, Stop));
}
