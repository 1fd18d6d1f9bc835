// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Block.Files;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;
using Fleece.TestKit;
using Xunit;

namespace Fleece.Images.Tests.Example;

/// <summary>The contract of block nodes, over the example format: a map and a driver are all that a format needs.</summary>
public sealed class ExampleConformance : BlockNodeConformance, IDisposable
{
    private static readonly ExampleDriver Driver = new();

    private readonly TempFolder _folder = new();

    protected override int DiscardUnitBytes => 4096;

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task An_image_keeps_its_content_and_is_clean_when_it_is_closed()
    {
        string path = MakeFile(1 << 20);
        byte[] content = Seeds.FromEnvironment().Bytes(200_000);
        await using (IBlockNode node = Open(path))
        {
            await node.WriteAsync(100_001, content, WriteFlags.None, CancellationToken.None);
        }

        byte[] read = new byte[content.Length];
        await using (IBlockNode node = Open(path))
        {
            await node.ReadAsync(100_001, read, CancellationToken.None);
        }

        Assert.Equal(content, read);
        using LocalContainer file = new(LocalFile.Open(path, isReadOnly: true));
        Assert.True(Driver.Check(file, ImageRepair.None, CancellationToken.None).IsClean);
    }

    protected override ValueTask<IBlockNode> CreateAsync(long lengthBytes) => new(Open(MakeFile(lengthBytes)));

    private static IBlockNode Open(string path) => Driver.Open(
        new LocalContainer(LocalFile.Open(path, isReadOnly: false)), new ImageOpenOptions(), new ImageChain(path, _ => Driver));

    private string MakeFile(long sizeBytes)
    {
        string path = _folder.NewFile(".example");
        using LocalContainer file = new(LocalFile.Create(path, 0));
        Driver.Create(file, new ImageCreateOptions { Format = Driver.Format, SizeBytes = sizeBytes }, parent: null);
        return path;
    }
}
