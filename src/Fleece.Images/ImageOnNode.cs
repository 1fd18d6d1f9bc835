// SPDX-License-Identifier: MIT
using Fleece.Block;
using Fleece.Images.Chain;
using Fleece.Images.Checking;
using Fleece.Images.Container;

namespace Fleece.Images;

/// <summary>Opens, describes and checks images that lie on a block node, such as an NBD export.</summary>
/// <remarks>
/// <para>The format is always named: the guest of a raw disk can write any header to it. Files that the image names are refused, because
/// an address has no folder that a name could be relative to.</para>
/// <para>Threading. All members are safe from any thread, and none waits on the calling one (<see cref="RequestThreads"/>).</para>
/// <para>Errors are those of <see cref="Image"/>, and those of the node.</para>
/// </remarks>
internal static class ImageOnNode
{
    /// <summary>Opens an image as a block node, which the caller owns. It owns the node beneath; on failure the caller still
    /// does.</summary>
    /// <param name="node">The node, of any alignment.</param>
    /// <param name="address">Its address, for messages.</param>
    /// <param name="options">How; the format is named in them.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static ValueTask<IBlockNode> OpenAsync(
        IBlockNode node, string address, ImageOpenOptions options, CancellationToken cancellationToken)
    {
        Image.CheckOpenOptions(address, options);
        RequestThreads threads = new(address);
        return threads.RunAsync<IBlockNode>(
            () =>
            {
                NodeContainer file = new(node, address, options) { CancellationToken = cancellationToken };
                ImageOpenOptions opening = options with { IsReadOnly = file.IsReadOnly };
                (IImageDriver driver, ImageChain chain) = Admit(file, opening);
                if (SetEnd(file, driver, options.Untrusted) is { } endBytes && endBytes > file.MaximumLengthBytes && !file.IsReadOnly)
                {
                    throw CutShort(address, options.Format, endBytes, file.MaximumLengthBytes);
                }

                ImageNode image = (ImageNode)driver.Open(file, opening, chain);
                file.CancellationToken = CancellationToken.None;
                return new ImageOnThreads(image, threads);
            },
            cancellationToken);
    }

    /// <summary>As <see cref="Image.GetInfoAsync"/>. The node is the caller's.</summary>
    public static ValueTask<ImageInfo> GetInfoAsync(
        IBlockNode node, string address, ImageFormat format, CancellationToken cancellationToken, UntrustedLimits? untrusted = null)
    {
        ImageOpenOptions options = new() { Format = format, IsReadOnly = true, Untrusted = untrusted };
        return new RequestThreads(address).RunAsync(
            () =>
            {
                NodeContainer file = new(node, address, options) { CancellationToken = cancellationToken };
                IImageDriver driver = Admit(file, options).Driver;
                SetEnd(file, driver, untrusted);
                return driver.Describe(file, new ImageInfo
                {
                    Path = address,
                    Format = format,
                    SizeBytes = file.MaximumLengthBytes,
                    FileSizeBytes = file.MaximumLengthBytes,
                    AllocatedBytes = file.MaximumLengthBytes,
                });
            },
            cancellationToken);
    }

    /// <summary>As <see cref="Image.CheckAsync"/>. The node is the caller's.</summary>
    public static ValueTask<ImageReport> CheckAsync(
        IBlockNode node,
        string address,
        ImageFormat format,
        ImageRepair repair,
        CancellationToken cancellationToken,
        UntrustedLimits? untrusted = null)
    {
        bool isRepair = repair != ImageRepair.None;
        ImageOpenOptions options = new() { Format = format, IsReadOnly = !isRepair, Untrusted = untrusted };
        return new RequestThreads(address).RunAsync(
            () =>
            {
                NodeContainer file = new(node, address, options)
                {
                    CancellationToken = isRepair ? CancellationToken.None : cancellationToken,
                };
                IImageDriver driver = ImageProbe.Tell(file, format, options.Parameters.Format);
                Image.AdmitToCheck(driver, file, Chain(address, options));
                SetEnd(file, driver, untrusted);
                return UntrustedLimits.WithinCheckTime(
                    untrusted, address, time => driver.Check(file, repair, time), cancellationToken);
            },
            cancellationToken);
    }

    private static (IImageDriver Driver, ImageChain Chain) Admit(NodeContainer file, ImageOpenOptions options)
    {
        IImageDriver driver = ImageProbe.Tell(file, options.Format, options.Parameters.Format);
        ImageChain chain = Chain(file.Path, options);
        chain.AdmitFirst(driver, file);
        return (driver, chain);
    }

    // An image that can't be read takes the whole device; opening or the check says why it can't.
    private static long? SetEnd(NodeContainer file, IImageDriver driver, UntrustedLimits? limits)
    {
        try
        {
            long endBytes = driver.FindEnd(file, limits);
            file.SetEnd(endBytes);
            return endBytes;
        }
        catch (BlockException failure) when (failure.Kind is ImageErrors.Corrupt or ImageErrors.WrongFormat or BlockErrors.Truncated
            or BlockErrors.Unsupported or ImageErrors.EmptyImage or ImageErrors.BadImageSize)
        {
            return null;
        }
    }

    private static BlockException CutShort(string address, ImageFormat? format, long endBytes, long deviceBytes) => new(
        BlockErrors.Truncated,
        $"The {format} image on '{address}' names places up to {endBytes} bytes, and the export ends at {deviceBytes}: it is cut short, " +
        "and is not opened for writing, because what lies behind the end is lost and new data would find no room. Make the export as " +
        "long as the image where it is served, copy the image there again, or open it read-only to save what is left.",
        address,
        deviceBytes,
        "open");

    private static ImageChain Chain(string address, ImageOpenOptions options) =>
        new(address, ImageDrivers.Find, ReferencePolicy.From(options) with { IsOnNode = true });
}
