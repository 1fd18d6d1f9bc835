// SPDX-License-Identifier: MIT
using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Settled;

/// <summary>The cost of requests where the image has nothing left to allocate: operations and bytes of memory, never time (I4).</summary>
public sealed class SettledRequestTests : IDisposable
{
    private const int Rounds = 200;
    private const int DurableRounds = 20;
    private const string DataFile = "qcow2 with a data file";

    // These have no blocks, so a range is one piece of the file. A fixed VHDX has them, and is looked up block by block.
    private static readonly string[] InOnePiece = ["raw", "VHD fixed", DataFile];

    private readonly TempFolder _folder = new();

    public static TheoryData<string> Kinds => [.. SettledImage.Kinds];

    // The node of a raw image takes local files only, and a node opens its data file itself: there only the kernel can count.
    public static TheoryData<string> KindsThatStoreTheirData => [.. SettledImage.Kinds.Except(["raw", DataFile])];

    public static TheoryData<string> KindsOverParents => ["qcow2 with a parent", "VHD differencing", "VHDX differencing"];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(KindsThatStoreTheirData))]
    public async Task A_settled_request_is_one_operation_on_the_file_for_each_piece_in_it(string kind)
    {
        await using SettledImage image = await SettledImage.CreateAsync(_folder, kind, isCounted: true);
        SettledRequests requests = new(image.Node);
        int pieces = InOnePiece.Contains(kind) ? 1 : 2;
        string[] expected =
        [
            "read 4 KiB: 1 x read",
            "read 64 KiB: 1 x read",
            $"read across the edge: {pieces} x read",
            "write 4 KiB: 1 x write",
            "write 64 KiB: 1 x write",
            $"write across the edge: {pieces} x write",
            "zero two sectors: 1 x zero",
            "status: nothing",
            "write 4 KiB through: 1 x write, 1 x flush",
            "flush: 1 x flush",
        ];

        Assert.Equal(expected, Costs([.. requests.All, .. requests.Durable], make => Counted(make, image.File!)));
    }

    [Fact]
    public async Task Settled_requests_ask_nothing_of_an_image_beside_its_data_file_but_flushes()
    {
        await using SettledImage image = await SettledImage.CreateAsync(_folder, DataFile, isCounted: true);
        SettledRequests requests = new(image.Node);

        Assert.All(requests.All, request => Assert.Equal("nothing", Counted(request.Make, image.File!)));
        Assert.All(requests.Durable, request => Assert.Equal("1 x flush", Counted(request.Make, image.File!)));
    }

    // Whichever files they go to: the image, its data file, its parent.
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_settled_request_is_one_system_call_for_each_piece_in_a_file(string kind)
    {
        ThreadCalls.SkipWhenUncounted();
        await using SettledImage image = await SettledImage.CreateAsync(_folder, kind, isCounted: false);
        SettledRequests requests = new(image.Node);
        int pieces = InOnePiece.Contains(kind) ? 1 : 2;
        string[] expected =
        [
            "read 4 KiB: 1 x read, 0 x write",
            "read 64 KiB: 1 x read, 0 x write",
            $"read across the edge: {pieces} x read, 0 x write",
            "write 4 KiB: 0 x read, 1 x write",
            "write 64 KiB: 0 x read, 1 x write",
            $"write across the edge: 0 x read, {pieces} x write",
            "zero two sectors: 0 x read, 0 x write",
            "status: 0 x read, 0 x write",
            "write 4 KiB through: 0 x read, 1 x write",
            "flush: 0 x read, 0 x write",
        ];

        Assert.Equal(expected, Costs([.. requests.All, .. requests.Durable], ThreadCalls.Count));
    }

    [Theory]
    [MemberData(nameof(KindsOverParents))]
    public async Task A_read_of_a_part_that_the_parent_stores_is_one_read_of_the_parent_alone(string kind)
    {
        ThreadCalls.SkipWhenUncounted();
        await using SettledImage image = await SettledImage.CreateAsync(_folder, kind, isCounted: true);
        SettledRequests requests = new(image.Node);
        requests.ReadWhereNothingWasWritten();
        _ = image.File!.TakeCounts();

        Assert.Equal("1 x read, 0 x write", ThreadCalls.Count(requests.ReadWhereNothingWasWritten));
        Assert.Equal("nothing", image.File.TakeCounts());
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_settled_request_allocates_nothing(string kind)
    {
        SkipUnlessOptimized();
        await using SettledImage image = await SettledImage.CreateAsync(_folder, kind, isCounted: false);
        SettledRequests requests = new(image.Node);
        (string Name, Action Make)[] made = [.. requests.All, ("read elsewhere", requests.ReadWhereNothingWasWritten)];

        Assert.Equal(made.Select(request => $"{request.Name}: 0"), Costs(made, make => AllocatedBytes(make, Rounds)));
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_request_that_makes_a_settled_part_durable_allocates_no_memory(string kind)
    {
        SkipUnlessOptimized();
        await using SettledImage image = await SettledImage.CreateAsync(_folder, kind, isCounted: false);

        Assert.Equal(
            ["write 4 KiB through: 0", "flush: 0"],
            Costs(new SettledRequests(image.Node).Durable, make => AllocatedBytes(make, DurableRounds)));
    }

    private static IEnumerable<string> Costs((string Name, Action Make)[] requests, Func<Action, string> measure) =>
        requests.Select(request => $"{request.Name}: {measure(request.Make)}");

    private static string Counted(Action make, CountingContainer file)
    {
        _ = file.TakeCounts();
        make();
        return file.TakeCounts();
    }

    // Without optimization the compiler makes every state machine an object.
    private static void SkipUnlessOptimized() => Assert.SkipWhen(
        typeof(Image).Assembly.GetCustomAttribute<DebuggableAttribute>() is { IsJITOptimizerDisabled: true },
        "Allocations of asynchronous methods are counted in Release builds.");

    // Bytes a request, in the cheapest of several rounds: the JIT replaces code in the middle of one, and that is not the path's cost.
    private static string AllocatedBytes(Action make, int rounds)
    {
        long fewest = long.MaxValue;
        for (int i = 0; i < 5; i++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int round = 0; round < rounds; round++)
            {
                make();
            }

            fewest = Math.Min(fewest, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        return ((double)fewest / rounds).ToString(CultureInfo.InvariantCulture);
    }
}
